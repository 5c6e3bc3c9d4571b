"""Comparing two result folders: what makes them different, what is only named."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from recorded import edit as edit_record
from recorded import save_array

from hybridflow.cli.main import main
from hybridflow.config.loading import load_settings, parse_settings
from hybridflow.io.records import read_record, write_record
from hybridflow.report.compare import Tolerances, compare_results
from hybridflow.runtime.errors import UserError
from hybridflow.store.keys import training_key

SETTINGS = parse_settings({"experiment": "x", "variants": {"baseline": {}}}).model_dump(mode="json")
RECORD = {
    "software": {"python": "3.11.7", "packages": {"torch": "2.14.1", "numpy": "2.4.6"}},
    "hardware": {"cpu": "one", "gpus": []},
    "revision": "a" * 40,
    "seeds": {"training": [0], "sampling": 0},
    "settings": SETTINGS,
    "checkpoints": {"baseline/seed0": {"key": "k", "torch": "2.14.1", "sha256": "s", "training_seconds": 3.0}},
}
LIKELIHOOD = {"version": 1, "split": "test", "images": 4, "importance_samples": 2, "seed": 0}
FIDELITY = {
    "images": 40,
    "sampling": {"version": 1, "temperature": 1.0},
    "reference_images": {"train": 64, "test": 60},
    "weights_sha256": {"cifar_classifier": "c"},
    "extractors": {"cifar_classifier": {"accuracy": {"test": 0.9}}},
    "metrics": {
        "fd_cifar": {"value": 300.0, "se": 1.0, "version": 1},
        "fd_cifar_test": {"value": 310.0, "se": None, "version": 1},
        "recall_cifar": {"value": 0.01, "se": 0.002, "version": 1},
    },
}
TOLERANCES = Tolerances(bpd=0.01, distance=0.02)


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """Two equal result folders of one model."""
    a, b = tmp_path / "a", tmp_path / "b"
    model = a / "baseline" / "seed0"
    model.mkdir(parents=True)
    write(a, "provenance.json", RECORD)
    write(model, "fidelity.json", FIDELITY)
    (model / "checkpoint.safetensors").write_bytes(b"weights")
    save_array(model / "samples.npy", np.zeros((4, 3, 32, 32), np.uint8))
    save_array(model / "likelihood.npy", np.zeros((4, 2)), **LIKELIHOOD, elbo_bpd=4.2, iwbo_bpd=4.1)
    (a / "table1.csv").write_text("variant\nbaseline\n")
    shutil.copytree(a, b)
    return a, b


def write(folder: Path, name: str, value: dict) -> None:
    write_record(folder / name, value)


def edit(folder: Path, name: str, **values) -> None:
    edit_record(folder / name, **values)


def measure(folder: Path, name: str, key: str, value: float) -> None:
    """Changes a number of a record."""
    change = (
        {key: value}
        if name == "likelihood.json"
        else {"metrics": FIDELITY["metrics"] | {key: FIDELITY["metrics"][key] | {"value": value}}}
    )
    edit(folder / "baseline" / "seed0", name, **change)


def different(a: Path, b: Path) -> list[str]:
    found = compare_results(a, b, TOLERANCES)
    lines = [line.removeprefix("DIFFERENT ") for line in found.lines if line.startswith("DIFFERENT ")]
    assert lines == found.differences
    return lines


def test_equal_folders(folders):
    found = compare_results(*folders, Tolerances(0, 0))
    assert found.differences == []
    assert found.summary == "reproduced: largest difference 0 bits/dim and 0 % of a Frechet distance"
    assert found.lines == [
        "baseline/seed0: ELBO in bits/dim 4.2 in both",
        "baseline/seed0: bits/dim 4.1 in both",
        "baseline/seed0: FD-CIFAR 300 in both",
        "baseline/seed0: FD-CIFAR (test) 310 in both",
        "baseline/seed0: Recall (CIFAR) 0.01 in both",
        "baseline/seed0/checkpoint.safetensors: byte-identical",
        "baseline/seed0/likelihood.npy: byte-identical",
        "baseline/seed0/samples.npy: byte-identical",
        "baseline/seed0/likelihood.json: byte-identical",
        "baseline/seed0/fidelity.json: byte-identical",
        "table1.csv: byte-identical",
    ]


def test_circumstances_are_named_and_make_no_difference(folders):
    edit(
        folders[1],
        "provenance.json",
        software={"python": "3.12.1", "packages": {"torch": "2.14.1"}},
        hardware={"cpu": "two", "gpus": []},
        revision="b" * 40,
        settings=SETTINGS | {"experiment": "y", "training": SETTINGS["training"] | {"threads": 7}},
        checkpoints={"baseline/seed0": {"key": "k", "torch": "2.15", "sha256": "t", "training_seconds": 4.0}},
    )
    assert different(*folders) == []
    assert compare_results(*folders, TOLERANCES).lines[:7] == [
        "software.packages.numpy is 2.4.6 in A, absent in B",
        "software.python is 3.11.7 in A, 3.12.1 in B",
        "hardware.cpu is one in A, two in B",
        f"revision is {'a' * 40} in A, {'b' * 40} in B",
        "settings.experiment is x in A, y in B",
        f"settings.training.threads is {SETTINGS['training']['threads']} in A, 7 in B",
        "baseline/seed0: checkpoint: torch is 2.14.1 in A, 2.15 in B",
    ]


def test_another_training_and_another_measurement_are_differences(folders):
    model = {"key": "l", "torch": "2.14.1", "training": {"lr": 1}}
    edit(folders[1], "provenance.json", checkpoints={"baseline/seed0": model})
    edit(folders[1] / "baseline/seed0", "likelihood.json", importance_samples=20)
    metrics = FIDELITY["metrics"] | {"fid": {"value": 44.0, "version": 1}}
    sampling = {"version": 1, "temperature": 0.5}
    again = {"weights_sha256": {"cifar_classifier": "d"}, "extractors": {}}  # another training of the classifier: no
    edit(folders[1] / "baseline/seed0", "fidelity.json", sampling=sampling, metrics=metrics, **again)
    assert different(*folders) == [
        "baseline/seed0: checkpoint: key is k in A, l in B",
        "baseline/seed0/likelihood.json: importance_samples is 2 in A, 20 in B",
        "baseline/seed0/fidelity.json: metrics.fid is absent in A, 1 in B",
        "baseline/seed0/fidelity.json: sampling.temperature is 1.0 in A, 0.5 in B",
    ]


@pytest.mark.parametrize(
    ("name", "key", "near", "far", "limit"),
    [
        ("likelihood.json", "iwbo_bpd", 4.109, 4.111, "beyond 0.01"),
        ("likelihood.json", "elbo_bpd", 4.191, 4.189, "beyond 0.01"),
        ("fidelity.json", "fd_cifar", 305.9, 306.2, "beyond 2 %"),
        ("fidelity.json", "fd_cifar_test", 304, 303.7, "beyond 2 %"),
        ("fidelity.json", "recall_cifar", 0.0104, 0.0106, "beyond a quarter of its standard error"),
    ],
)
def test_numbers_beyond_their_tolerance(folders, name, key, near, far, limit):
    a, b = folders
    measure(b, name, key, near)
    assert different(a, b) == []
    assert any("in B, within" in line for line in compare_results(a, b, TOLERANCES).lines)
    measure(b, name, key, far)
    for pair in ((a, b), (b, a)):
        (line,) = different(*pair)
        assert line.endswith(limit)
        assert f"{far:.6g}" in line


def test_other_bytes_are_described(folders):
    a, b = folders
    model = b / "baseline" / "seed0"
    samples = np.zeros((4, 3, 32, 32), np.uint8)
    samples[0, 0, 0, :3] = (1, 255, 0)
    save_array(model / "samples.npy", samples)
    save_array(model / "likelihood.npy", np.zeros((3, 2)), **LIKELIHOOD, elbo_bpd=4.2, iwbo_bpd=4.1)
    (model / "checkpoint.safetensors").write_bytes(b"other")
    lines = compare_results(a, b, TOLERANCES).lines
    assert "baseline/seed0/checkpoint.safetensors: other bytes" in lines
    assert "baseline/seed0/samples.npy: other bytes (0.0163 % of the values differ, by at most 255)" in lines
    assert "baseline/seed0/likelihood.npy: other bytes (shapes (4, 2) and (3, 2))" in lines
    assert different(a, b) == []


@pytest.mark.parametrize("name", ["samples", "likelihood"])
def test_damaged_arrays_are_not_taken_for_other_results(folders, name):
    path = folders[1] / "baseline" / "seed0" / f"{name}.npy"
    values = np.load(path)
    values.flat[-1] = 1
    np.save(path, values)
    with pytest.raises(UserError, match=rf"{name}\.npy is damaged or was exchanged"):
        compare_results(*folders, TOLERANCES)


def test_a_generator_without_a_likelihood(folders):
    for folder in folders:
        for name in ("likelihood.json", "likelihood.npy"):
            (folder / "baseline" / "seed0" / name).unlink()
    found = compare_results(*folders, TOLERANCES)
    assert found.differences == []
    assert found.lines[0] == "baseline/seed0: FD-CIFAR 300 in both"
    assert not any("likelihood" in line for line in found.lines)


def test_only_the_models_that_both_have(folders):
    a, b = folders
    edit(a, "provenance.json", checkpoints=RECORD["checkpoints"] | {"baseline/seed1": {}})
    found = compare_results(a, b, TOLERANCES, common=True)
    assert not found.differences
    assert "baseline/seed1: only in A" in found.lines
    measure(b, "likelihood.json", "iwbo_bpd", 9.0)
    assert compare_results(a, b, TOLERANCES, common=True).differences
    edit(b, "provenance.json", checkpoints={"other/seed0": {}})
    with pytest.raises(UserError, match="have no model in common"):
        compare_results(a, b, TOLERANCES, common=True)


def test_what_is_missing(folders):
    a, b = folders
    (b / "baseline" / "seed0" / "samples.npy").unlink()
    (b / "table1.csv").unlink()
    edit(a, "provenance.json", checkpoints=RECORD["checkpoints"] | {"more/seed1": {}})
    assert different(a, b) == ["more/seed1: only in A", "table1.csv: missing in B"]
    assert (
        "baseline/seed0/samples.npy: missing in B" in compare_results(a, b, TOLERANCES).lines
    )  # large: may be left out


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("provenance.json", None, "is not a folder of finished results: it has no provenance.json"),
        ("provenance.json", b"{cut", "is damaged; "),
        ("provenance.json", b"[]", "is damaged; "),
        ("baseline/seed0/fidelity.json", None, "is missing"),
        ("baseline/seed0/fidelity.json", b"\xff", "is damaged; "),
        ("baseline/seed0/samples.npy", b"\x93NUMPY cut", "is damaged or was exchanged"),
    ],
)
def test_unusable_folders(folders, name, content, sentence):
    path = folders[1] / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        compare_results(*folders, TOLERANCES)
    assert sentence in str(caught.value)
    assert str(folders[1]) in str(caught.value)


def test_the_command(folders, capsys):
    a, b = map(str, folders)
    assert main(["compare", a, b]) == 0
    assert capsys.readouterr().out == "reproduced: largest difference 0 bits/dim and 0 % of a Frechet distance\n"
    assert main(["compare", a, b, "--details"]) == 0
    assert capsys.readouterr().out.startswith(f"A: {a}\nB: {b}\nbaseline/seed0: ELBO in bits/dim 4.2 in both\n")
    edit(folders[1] / "baseline" / "seed0", "likelihood.json", iwbo_bpd=4.2)
    assert main(["compare", a, b]) == 1
    assert capsys.readouterr().out == (
        f"A: {a}\nB: {b}\nDIFFERENT baseline/seed0: bits/dim 4.1 in A, 4.2 in B, beyond 0.01\n"
        "not reproduced: 1 difference; largest difference 0.1 bits/dim and 0 % of a Frechet distance\n"
    )
    assert main(["compare", a, b, "--tolerance-bpd", "0.2"]) == 0
    ones = {name: {"value": 1.0, "version": 1} for name in FIDELITY["metrics"]}
    edit(folders[1] / "baseline" / "seed0", "fidelity.json", metrics=ones)
    assert main(["compare", a, b, "--tolerance-bpd", "0.2"]) == 1
    assert "not reproduced: 3 differences" in capsys.readouterr().out
    assert main(["compare", a, b, "--tolerance-bpd", "0.2", "--tolerance-distance", "1"]) == 0


@pytest.mark.parametrize("value", ["-1", "nan", "inf"])
def test_tolerances_are_numbers(folders, capsys, value):
    assert main(["compare", *map(str, folders), f"--tolerance-bpd={value}"]) == 2
    assert "--tolerance-bpd is" in capsys.readouterr().err


def test_the_committed_results_are_those_of_the_cpu_preset_as_it_is_now():
    """Or `make demo` would end with a difference whatever it measured."""
    root = Path(__file__).parents[2]
    settings = load_settings(root / "config.yaml", root / "presets" / "cpu.yaml")
    trained = read_record(root / "results" / "cpu" / "provenance.json")["checkpoints"]
    dataset = trained["baseline/seed0"]["dataset"]
    keys = {
        f"{name}/seed{seed}": training_key(settings, name, seed, dataset)
        for name in settings.variants
        for seed in settings.seeds
    }
    assert {model: record["key"] for model, record in trained.items()} == keys
