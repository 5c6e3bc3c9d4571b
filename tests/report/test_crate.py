"""The research object of an experiment: every file that it names is in it, and every name leads somewhere."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkout import MICRO, ROOT
from experiment import DATASET, Experiment

from hybridflow.cli.main import main
from hybridflow.io.hashing import sha256_file
from hybridflow.io.records import write_record
from hybridflow.report.crate import BESIDE, CODE, PROFILES, write_crate
from hybridflow.report.provenance import collect_provenance
from hybridflow.report.results import Results, read_results
from hybridflow.runtime.errors import UserError

pytest.importorskip("rocrate")
METADATA = "ro-crate-metadata.json"
FOLDER = Path("results", "micro")


@pytest.fixture
def finished(experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Results:
    """An experiment that has run to its end, in a checkout that is the current folder."""
    for name in CODE:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("Snakefile", "config.yaml", *BESIDE):
        shutil.copyfile(ROOT / name, tmp_path / name)
    shutil.copyfile(MICRO, tmp_path / "micro.yaml")
    monkeypatch.chdir(tmp_path)
    experiment.train()
    results = read_results(FOLDER, experiment.settings, DATASET)
    write_record(FOLDER / "provenance.json", collect_provenance(results, {"experiment": "micro"}, "none"))
    (FOLDER / "figures").mkdir()
    for name in ("table1.csv", "report.html", "figures/samples.png", ".snakemake_timestamp"):
        (FOLDER / name).write_text(name, encoding="utf-8")
    return results


def entities(crate: Path) -> dict[str, dict[str, Any]]:
    graph = json.loads((crate / METADATA).read_text(encoding="utf-8"))["@graph"]
    found = {entity["@id"]: entity for entity in graph}
    assert len(found) == len(graph)
    return found


def kinds(entity: dict[str, Any]) -> set[str]:
    return {entity["@type"]} if isinstance(entity["@type"], str) else set(entity["@type"])


def references(value: Any) -> Iterator[str]:
    """Every ``{"@id": ...}`` in an entity's properties."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        yield from [value["@id"]] if value.keys() == {"@id"} else references(list(value.values()))


@pytest.fixture
def crate(finished: Results, tmp_path: Path) -> Path:
    write_crate(tmp_path / "crate", finished, DATASET, ["micro.yaml"])
    return tmp_path / "crate"


def test_every_file_it_names_is_there_and_is_that_file(crate: Path) -> None:
    found = entities(crate)
    files = {name: entity for name, entity in found.items() if "File" in kinds(entity) and "://" not in name}
    for name, entity in files.items():
        assert entity["sha256"] == sha256_file(crate / name)
        assert int(entity["contentSize"]) == (crate / name).stat().st_size
    folders = [name for name, entity in found.items() if kinds(entity) == {"Dataset"} and name != "./"]
    assert sorted(folders) == [f"{name}/" for name in CODE]
    present = {path.relative_to(crate).as_posix() for path in crate.rglob("*") if path.is_file()} - {METADATA}
    assert {name for name in present if not name.startswith(tuple(folders))} == set(files)
    assert not {Path(name).suffix for name in present} & {".safetensors", ".npy", ".npz", ".pyc"}
    assert "src/hybridflow/report/crate.py" in present
    wanted = {"micro.yaml", "results/micro/figures/samples.png", "results/micro/control/seed0/fidelity.json"}
    assert wanted <= files.keys()


def test_every_reference_leads_to_an_entity(crate: Path) -> None:
    found = entities(crate)
    given = {target for entity in found.values() for part in entity.values() for target in references(part)}
    outside = {name for name in given if name not in found}
    assert all(name.startswith("https://") for name in outside), outside
    parts = set(references(found["./"]["hasPart"]))
    assert {name for name, entity in found.items() if kinds(entity) & {"File", "Dataset"}} - {"./"} == parts


def test_the_run_made_the_results_from_settings_and_images(crate: Path) -> None:
    found = entities(crate)
    root, action, workflow = found["./"], found["#run"], found["Snakefile"]
    assert root["mainEntity"] == action["instrument"] == {"@id": "Snakefile"}
    assert root["mentions"] == {"@id": "#run"}
    assert set(references(root["conformsTo"])) == {address for address, _, _ in PROFILES}
    assert (kinds(action), kinds(workflow)) == (
        {"CreateAction"},
        {"File", "SoftwareSourceCode", "ComputationalWorkflow"},
    )
    inputs, outputs = ([found[name] for name in references(action[role])] for role in ("object", "result"))
    assert [entity["name"] for entity in inputs] == ["config.yaml", "micro.yaml", "CIFAR-10"]
    weights = [entity for entity in outputs if entity["@id"].startswith("#weights-")]
    provenance = json.loads((crate / FOLDER / "provenance.json").read_text(encoding="utf-8"))
    assert [entity["sha256"] for entity in weights] == [one["sha256"] for one in provenance["checkpoints"].values()]
    assert action["endTime"] == provenance["written"]
    assert {"table1.csv", "report.html", "provenance.json"} <= {entity["name"] for entity in outputs}
    versions = {
        found[name]["name"]: found[name]["softwareVersion"] for name in references(workflow["softwareRequirements"])
    }
    assert versions["torch"] == provenance["software"]["packages"]["torch"]
    (author,) = (found[name] for name in references(root["author"]))
    assert author["name"] == "The hybridflow authors"


def test_it_names_no_place_of_this_machine(crate: Path, tmp_path: Path) -> None:
    assert str(tmp_path) not in (crate / METADATA).read_text(encoding="utf-8")


def test_a_zip_holds_the_same_and_is_replaced(crate: Path, finished: Results, tmp_path: Path) -> None:
    path = tmp_path / "new" / "crate.zip"
    for _ in range(2):
        write_crate(path, finished, DATASET, ["micro.yaml"])
    with zipfile.ZipFile(path) as file:
        packed = {name for name in file.namelist() if not name.endswith("/")}
    assert packed == {one.relative_to(crate).as_posix() for one in crate.rglob("*") if one.is_file()}
    assert [one.name for one in path.parent.iterdir()] == ["crate.zip"]


def test_the_command(finished: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("hybridflow.data.fingerprint.content_hash", lambda *_: DATASET)
    command = ["crate", "--configfile", "micro.yaml", "changes.yaml"]
    assert main(command) == 0
    assert capsys.readouterr().out == "results/micro.crate.zip\n"
    with zipfile.ZipFile("results/micro.crate.zip") as file:
        assert {"config.yaml", "micro.yaml", "changes.yaml"} <= set(file.namelist())
    (FOLDER / "provenance.json").unlink()
    assert main(command) == 1
    assert capsys.readouterr().err == "error: results/micro/provenance.json is missing; run the workflow again.\n"


def test_what_cannot_be_packed_is_one_sentence(
    finished: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"results is there already; name a folder that is not, or a \.zip file"):
        write_crate("results", finished, DATASET, [])
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "rocrate.rocrate", None)
        with pytest.raises(UserError, match="`pip install rocrate` installs it"):
            write_crate("crate", finished, DATASET, [])
    record = json.loads((FOLDER / "provenance.json").read_text(encoding="utf-8"))
    record["checkpoints"].pop("control/seed0")
    write_record(FOLDER / "provenance.json", {name: record[name] for name in record if name != "record_sha256"})
    with pytest.raises(UserError, match=r"provenance\.json describes other models than the configuration"):
        write_crate("crate", finished, DATASET, [])
    (FOLDER / "report.html").unlink()
    with pytest.raises(UserError, match=r"report\.html is missing; run the workflow again"):
        write_crate("crate", finished, DATASET, [])
    assert not (tmp_path / "crate").exists()
