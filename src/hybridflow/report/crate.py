"""A finished experiment as a Workflow Run RO-Crate: workflow, settings, results, and how they came to be.

The profile is https://w3id.org/ro/wfrun/workflow/0.5, on RO-Crate 1.1. Weights and images are named with their hashes
and where to get them; they are not copied.
"""

from __future__ import annotations

import mimetypes
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from hybridflow.config.data import DatasetSettings
from hybridflow.data.cifar10.layout import CIFAR10
from hybridflow.io.hashing import sha256_file
from hybridflow.io.records import read_record
from hybridflow.io.repair import repair_hint
from hybridflow.report.provenance import PACKAGE
from hybridflow.report.results import Results
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.revision import code_revision
from hybridflow.store.entries import variant_entry

PROFILES = (
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
)
TERMS = {name: f"https://w3id.org/ro/terms/workflow-run#{name}" for name in ("sha256", "md5")}
"""What the profile adds to the terms of RO-Crate 1.1, as far as it is used."""

CODE = ("src/hybridflow", "workflow")
BESIDE = ("README.md", "LICENSE", "CITATION.cff", "pyproject.toml", "constraints.txt")
NEEDED = ("table1.csv", "report.html", "provenance.json")
RESULTS = ("*.*", "figures/*.*", "pictures/*.*", "reference/*.json", "cards/*.md")
OF_A_MODEL = ("*.json", "*.jsonl", "temperature-*/*.json")
FORMATS = {".md": "text/markdown", ".yaml": "application/yaml", ".jsonl": "application/jsonl", ".py": "text/x-python"}


def write_crate(output: str | Path, results: Results, dataset_hash: str, configfiles: Sequence[str | Path]) -> None:
    """Writes the crate of an experiment that has run to its end; the current folder is its checkout.

    Args:
        output: a ``.zip`` file, which is replaced, or a folder, which must not be there yet.
        dataset_hash: of the dataset, which the names of the weights depend on.
        configfiles: files over ``config.yaml``, as given to snakemake.

    Raises:
        UserError: the experiment is not finished, its provenance is of other models, the folder is there already, or
            the package ``rocrate`` is missing.
    """
    output = Path(output)
    zipped = output.suffix == ".zip"
    if output.exists() and not (zipped and output.is_file()):
        raise UserError(f"crate: {output} is there already; name a folder that is not, or a .zip file.")
    folder = Path("results", results.settings.experiment)
    provenance = _provenance(folder, results)
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".crate-", dir=output.parent) as scratch:  # beside it, so that a move is a rename
        for name in CODE:
            shutil.copytree(name, Path(scratch, "code", name), ignore=shutil.ignore_patterns("__pycache__"))
        crate = _describe(results, dataset_hash, provenance, folder, configfiles, Path(scratch, "code"))
        made = Path(scratch, "crate")
        crate.write(made)
        if zipped:  # not crate.write_zip: it leaves out the entries of folders, which validators look for
            made = Path(shutil.make_archive(str(made), "zip", made))
        made.replace(output)


def _provenance(folder: Path, results: Results) -> dict[str, Any]:
    for name in NEEDED:
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing; {repair_hint(folder / name, missing=True)}.")
    record = read_record(folder / "provenance.json")
    described = {name: checkpoint["key"] for name, checkpoint in record["checkpoints"].items()}
    if described != {model.files.name: model.key for model in results.models}:
        raise UserError(f"{folder / 'provenance.json'} describes other models than the configuration; run it again.")
    return record


def _describe(
    results: Results,
    dataset_hash: str,
    provenance: Mapping[str, Any],
    folder: Path,
    configfiles: Sequence[str | Path],
    code: Path,
) -> Any:
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise UserError("crate: needs a package that is not here; `pip install rocrate` installs it.") from None

    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms.update(TERMS)

    def file(path: Path, name: str | None = None) -> Any:
        return crate.add_file(path, dest_path=name or path.as_posix(), properties=_file_properties(path))

    citation = yaml.safe_load(Path("CITATION.cff").read_text(encoding="utf-8"))
    authors = [
        _entity(crate, f"#author-{number}", "Organization" if "name" in author else "Person", name=_name(author))
        for number, author in enumerate(citation["authors"], start=1)
    ]
    spdx = f"https://spdx.org/licenses/{citation['license']}"
    licence = _entity(crate, spdx, "CreativeWork", name=citation["license"], url=spdx)

    software = provenance["software"]
    used = {"pkg:generic/python": software["python"]} | {  # package URLs, ECMA-427
        f"pkg:pypi/{name}": version
        for name, version in software["packages"].items()
        if name != PACKAGE  # is in the crate
    }
    requirements = [
        _entity(crate, f"{package}@{version}", "SoftwareApplication", name=Path(package).name, softwareVersion=version)
        for package, version in used.items()
    ]
    workflow = crate.add_workflow(
        "Snakefile",
        dest_path="Snakefile",
        main=True,
        lang="snakemake",
        lang_version=software["packages"]["snakemake"],
        properties=_file_properties(Path("Snakefile"))
        | {"name": citation["title"], "version": citation["version"], "license": {"@id": spdx}},
    )
    workflow["description"] = (
        f"The code in this crate is revision {code_revision()}; the run names those that computed."
    )
    workflow["creator"], workflow["softwareRequirements"] = authors, requirements
    parts = [crate.add_dataset(code / name, dest_path=name, properties={"name": name}) for name in CODE]
    workflow["hasPart"] = parts
    beside = {name: file(Path(name)) for name in BESIDE}
    beside["README.md"]["about"] = crate.root_dataset

    given = [Path("config.yaml"), *map(Path, configfiles), *map(Path, results.settings.extensions)]
    inputs = [file(path, name) for name, path in {_inside(path): path for path in given}.items()]
    inputs.append(_images(crate, results, dataset_hash))
    outputs = [file(path) for path in _result_files(folder, results)]
    outputs += [_weights(crate, model, provenance, results, dataset_hash) for model in results.models]

    action = crate.add_action(
        workflow,
        identifier="#run",
        object=inputs,
        result=outputs,
        properties={
            "name": f"The run of the experiment {results.settings.experiment}",
            "description": _revisions(provenance),
            "actionStatus": "http://schema.org/CompletedActionStatus",
            **({"endTime": provenance["written"]} if "written" in provenance else {}),  # older records do not say it
        },
    )
    root = crate.root_dataset
    root["name"] = f"hybridflow: the experiment {results.settings.experiment}"
    root["description"] = f"Workflow, settings, table, figures and records of an experiment. {citation['abstract']}"
    root["license"], root["author"], root["keywords"] = licence, authors, ", ".join(citation["keywords"])
    root["mentions"] = action
    root["conformsTo"] = [
        _entity(crate, address, "CreativeWork", name=name, version=version) for address, name, version in PROFILES
    ]
    return crate


def _entity(crate: Any, identifier: str, kind: str, /, **properties: str) -> Any:
    """Adds something that is not a file of the crate."""
    return crate.add_jsonld({"@id": identifier, "@type": kind, **properties})


def _file_properties(path: Path) -> dict[str, Any]:
    kind = FORMATS.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "text/plain"
    size = str(path.stat().st_size)
    return {"name": path.name, "encodingFormat": kind, "contentSize": size, "sha256": sha256_file(path)}


def _name(author: Mapping[str, str]) -> str:
    return author.get("name") or f"{author['given-names']} {author['family-names']}"


def _inside(path: Path) -> str:
    """Where a file of the configuration is in the crate: as in the checkout, or by its name if it is elsewhere."""
    full, here = path.resolve(), Path.cwd().resolve()
    return full.relative_to(here).as_posix() if full.is_relative_to(here) else f"config/{path.name}"


def _result_files(folder: Path, results: Results) -> Iterator[Path]:
    """Everything that is read by people or by programs without weights and arrays, of the configured models."""
    places = [(folder, RESULTS), *((Path(model.files.folder), OF_A_MODEL) for model in results.models)]
    for place, patterns in places:
        for pattern in patterns:
            yield from sorted(path for path in place.glob(pattern) if path.is_file() and path.name[0] != ".")


def _images(crate: Any, results: Results, dataset_hash: str) -> Any:
    if results.settings.dataset.source != "cifar10":
        return _entity(crate, "#images", "CreativeWork", name="own images", identifier=dataset_hash)
    return crate.add_file(
        DatasetSettings.model_fields["url"].default,
        properties={
            "name": "CIFAR-10",
            "description": "Images of 32×32 pixels. Their authors state no licence; they ask to cite: Krizhevsky, "
            "Learning multiple layers of features from tiny images, 2009. "
            + " ".join(f"SHA-256 of the {split} images as arrays: {value}." for split, value in CIFAR10.hashes.items()),
            "identifier": dataset_hash,
            "url": "https://www.cs.toronto.edu/~kriz/cifar.html",
            "encodingFormat": "application/gzip",
            "md5": CIFAR10.archive_md5,
        },
    )


def _weights(crate: Any, model: Any, provenance: Mapping[str, Any], results: Results, dataset_hash: str) -> Any:
    variant, seed = model.files.variant, model.files.seed
    stored = variant_entry(results.settings, variant, seed, dataset_hash)
    note = f"{stored.file('.safetensors').name}.dvc"
    where = f"`dvc pull store/{note}` in a clone of the repository brings them" if stored.published else "Not published"
    return _entity(
        crate,
        f"#weights-{variant}-seed{seed}",
        "CreativeWork",
        name=f"Weights of {variant}, seed {seed}",
        description=f"Not in this crate. {where}.",
        identifier=model.key,
        sha256=provenance["checkpoints"][model.files.name]["sha256"],
    )


def _revisions(provenance: Mapping[str, Any]) -> str:
    """Which revisions of the code computed the results; that of the crate's own files may be a later one."""
    trained = {checkpoint.get("revision") for checkpoint in provenance["checkpoints"].values()}
    measured = {revision for each in provenance["measured_by"].values() for revision in each.values()}
    parts = {"training": trained, "measuring": measured, "reporting": {provenance["revision"]}}
    said = (f"{part} {', '.join(sorted(str(one) for one in found))}" for part, found in parts.items())
    return f"Git revisions of the code: {'; '.join(said)}. Jobs, machine and settings: provenance.json."
