"""The real snakemake on the real workflow."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from checkout import MICRO, ROOT, Project, write_dataset
from pictures import IMAGES
from PIL import Image
from preset_files import files_of
from standin import write_random_inception

from hybridflow.config.loading import load_settings
from hybridflow.config.metrics import METRICS
from hybridflow.config.yaml_files import read_config

pytestmark = pytest.mark.workflow

ENDINGS = ("", "_sd", "_low", "_high", "_min", "_max")
COLUMNS = ["variant", "discriminator", "loss", "factor", "family", "seeds", *(f"bpd{end}" for end in ENDINGS)]
DISTANCES = [f"{name}{end}" for name in ("fd_cifar", "fd_cifar_test") for end in ENDINGS]
REFERENCES = ["reference_bpd", "reference_fid"]


def job_counts(output: str) -> dict[str, int]:
    """The jobs a dry run announces, by rule."""
    stats = output[output.index("Job stats:") :]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)(?:  .*)?$", stats, flags=re.MULTILINE)}


def dry_run(project: Project, *arguments: str) -> dict[str, int]:
    output = project.run(sys.executable, "-m", "snakemake", "-n", *arguments).stdout
    return {} if "Nothing to be done" in output else job_counts(output)


PICTURES = (
    "draw_variants",
    "draw_nearest",
    "probe_likelihood",
    "draw_interpolation",
    "measure_reconstruction",
    "animate_training",
)


@pytest.mark.parametrize("preset", [None, *sorted(path.name for path in (ROOT / "presets").glob("*.yaml"))])
def test_every_preset_lists_its_jobs(project: Project, preset: str | None) -> None:
    files = files_of(ROOT / "presets" / preset) if preset else []
    counts = dry_run(project, *(["--configfile", *files] if files else []))
    settings = load_settings(*(project.path / name for name in ("config.yaml", *files)))
    variants, seeds, pictures = settings.variants.values(), len(settings.seeds), int(settings.evaluation.pictures)
    models = seeds * len(variants)
    likely = seeds * sum(variant.generator.has_likelihood for variant in variants)
    metrics = [METRICS[name] for name in settings.evaluation.metrics]
    extractors = {metric.extractor for metric in metrics}
    vectors = {(metric.extractor, metric.reference) for metric in metrics if metric.needs == "features"}
    if pictures:  # they show the nearest training images
        vectors |= {(name, "train") for name in extractors - {"inception"}}
    expected = {
        "prepare_dataset": 1,
        "prepare_extractor": len(extractors),
        "train_variant": models,
        "evaluate_likelihood": likely,
        "sample_images": models,
        "measure_samples": models * len(extractors),
        "measure_reference": len({(metric.extractor, metric.reference) for metric in metrics}),
        **({"measure_reference_vectors": len(vectors)} if vectors else {}),
        "measure_calibration": len(extractors - {"inception"}),
        "evaluate_fidelity": models,
        "build_table": 1,
        "draw_samples": 1,
        "build_frontier": 1,
        "build_calibration": 1,
        "draw_training": 1,
        "build_details": 1,
        "build_page": 1,
        "write_provenance": 1,
        "all": 1,
        **dict.fromkeys(PICTURES if pictures else (), 1),
    }
    assert {k: v for k, v in counts.items() if k != "total"} == expected


def test_a_variant_is_one_entry(project: Project) -> None:
    before = dry_run(project, "--configfile", "micro.yaml")
    project.write(
        "more.yaml", "variants: {dcgan-0.9: {discriminator: dcgan, adversarial_weight: 0.9, init_from: baseline}}"
    )
    after = dry_run(project, "--configfile", "micro.yaml", "more.yaml")
    per_model = {"train_variant", "evaluate_likelihood", "sample_images", "measure_samples", "evaluate_fidelity"}
    assert {k for k in after if after[k] != before[k]} == per_model | {"total"}
    assert all(after[k] == before[k] + 1 for k in per_model)


def test_a_variants_jobs_have_its_threads(project: Project) -> None:
    project.write("threads.yaml", "variants: {dcgan-0.5: {training: {threads: 3, batch_size: 16, devices: 2}}}")
    command = [sys.executable, "-m", "snakemake", "-n", "--verbose", "--cores", "8"]
    output = project.run(*command, "--configfile", "micro.yaml", "threads.yaml").stdout
    jobs = re.findall(r"^rule (\w+):\n((?: +.*\n)+)", output, flags=re.MULTILINE)
    threads = {rule: re.search(r"threads: (\d)", job) for rule, job in jobs if "variant=dcgan-0.5" in job}
    found = {rule: int(number[1]) for rule, number in threads.items() if number}
    measured = ("evaluate_likelihood", "sample_images", "measure_samples", "evaluate_fidelity")
    assert found == {"train_variant": 6, **dict.fromkeys(measured, 3)}


@pytest.mark.slow
def test_a_training_on_two_devices(project: Project) -> None:
    write_dataset(project)
    project.write("two.yaml", "variants: {baseline: {training: {devices: 2}}}")
    target = "results/micro/baseline/seed0/checkpoint.safetensors"
    files = ["--configfile", "micro.yaml", "two.yaml"]
    command = [sys.executable, "-m", "snakemake", target, "--resources", "gpu=4", *files]
    asked = project.run(*command, "-n", "--verbose", "--cores", "2", "--config", "training={device: auto}").stdout
    assert re.search(r"^ *threads: 2$", asked, flags=re.MULTILINE)
    assert re.search(r"^ *resources: .*\bgpu=2\b", asked, flags=re.MULTILINE)
    project.run(*command, "--cores", "2")
    log = project.read("results/micro/logs/train_variant/baseline-seed0.log")
    assert log.count("train_variant: computing on cpu (1 CPU threads)") == 2
    history = project.read("results/micro/baseline/seed0/training.jsonl").splitlines()
    assert json.loads(history[-1])["images"] == 16 * 5
    alone = project.run(*command[:-1], "-n", "--cores", "2").stdout
    assert "Nothing to be done" in alone, "the number of devices is no reason to train again"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("training: {batchsize: 3}", "`training.batchsize` is not a setting; did you mean `batch_size`?"),
        ("variants: {'a; touch hacked': {}}", "must start with a letter or digit"),
        (
            "evaluation: {metrics: [fid], extractors: {inception: {weights: no.pth}}}",
            "is 'no.pth', which is not a file",
        ),
        ("dataset: {holdout: 50000}", "`dataset.holdout` is 50000, which leaves 0 of 50000 training images"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(project: Project, change: str, sentence: str) -> None:
    project.write("wrong.yaml", change)
    done = project.run(*project.snakemake_command("wrong.yaml", "-n"), check=False)
    assert done.returncode != 0
    assert sentence in done.stdout
    assert "Traceback" not in done.stdout
    assert not (project.path / "hacked").exists()


def test_the_run_makes_table_figures_and_provenance(finished: Project) -> None:
    results = finished.path / "results" / "micro"
    table = pd.read_csv(results / "table1.csv")
    assert list(table.columns) == COLUMNS + DISTANCES + REFERENCES
    assert list(table.variant) == ["baseline", "dcgan-0.5"]
    assert np.isfinite(table[["bpd", "fd_cifar"]].to_numpy()).all()
    assert list(table.reference_bpd) == [3.05, 3.35]
    markdown = (results / "table1.md").read_text()
    assert "not comparable" in markdown
    for figure in ("samples", "frontier", "calibration", "training"):
        assert (results / "figures" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
        assert (results / "figures" / f"{figure}.pdf").read_bytes().startswith(b"%PDF")
    details = (results / "details.md").read_text()
    for heading in ("Differences", "Classes of the samples", "The scale of the metrics", "Costs of training"):
        assert f"## {heading}" in details
    fidelity = json.loads((results / "baseline" / "seed0" / "fidelity.json").read_text())
    classes = pd.read_csv(results / "classes.csv").set_index("variant")
    assert classes.loc["baseline"].tolist()[-10:] == fidelity["class_counts"]
    assert sum(fidelity["class_counts"]) == 40
    bounds = [np.load(results / name / "seed0" / "likelihood.npy")[:, 1] for name in ("dcgan-0.5", "baseline")]
    differences = pd.read_csv(results / "differences.csv").set_index("metric")
    assert differences.loc["bpd"].difference == pytest.approx(
        float(bounds[1].mean() - bounds[0].mean()) / 3072 / np.log(2)
    )
    provenance = json.loads((results / "provenance.json").read_text())
    assert provenance["checkpoints"]["baseline/seed0"]["training_seconds"] > 0
    assert "train_variant/baseline-seed0" in provenance["rules"]


def test_the_run_makes_pictures(finished: Project) -> None:
    pictures = finished.path / "results" / "micro" / "pictures"
    for name in ("variants", "nearest", "likelihood_of_images", "interpolation"):
        content = (pictures / f"{name}.png").read_bytes()
        assert content.startswith(b"\x89PNG")
        assert len(content) <= 400_000
    assert (pictures / "training.gif").read_bytes().startswith(b"GIF89a")
    reconstruction = pd.read_csv(pictures / "reconstruction.csv")
    assert list(reconstruction.variant) == ["baseline", "dcgan-0.5"]
    assert (reconstruction.max_levels < 0.5).all()
    likelihood = pd.read_csv(pictures / "likelihood_of_images.csv")
    assert set(likelihood.kind) == {"train", "test", "flipped", "smoothed", "constant", "noise"}
    assert len(likelihood) == 12
    assert (likelihood.images == 64).all()


def test_pictures_can_be_left_out(project: Project) -> None:
    counts = dry_run(project, "--configfile", "micro.yaml", "--config", "evaluation={pictures: false}")
    assert not {"draw_variants", "draw_nearest", "probe_likelihood", "animate_training"} & set(counts)


def test_the_run_prints_one_line_a_job(finished: Project) -> None:
    lines = finished.read("first.log").splitlines()
    jobs = [line for line in lines if re.match(r"\[\d+/\d+\] \w+", line)]
    assert jobs[-1].startswith(f"[{len(jobs)}/{len(jobs)}] all (")
    assert any(re.match(r"\[\d+/\d+\] sample_images baseline seed 0 \(", line) for line in jobs)
    assert len(lines) < len(jobs) + 20
    assert "likelihood baseline seed 0: 100%" in finished.read(
        "results/micro/logs/evaluate_likelihood/baseline-seed0.log"
    )


def test_the_report_has_every_result_with_a_label(finished: Project, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    finished.snakemake("--report", str(page))
    text = page.read_text(encoding="utf-8")
    for label in ("table", "samples", "training curves", "the report page", "costs of training"):
        assert f'"content": "{label}"' in text.replace('\\"', '"') or f'"{label}"' in text, label
    assert "<h2>Costs of training</h2>" in finished.read("results/micro/report.html")


def test_the_catalogs_snakefile_is_the_same_workflow(finished: Project) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "-n", "--configfile", "micro.yaml"]
    assert "Nothing to be done" in finished.run(*command, "--snakefile", "workflow/Snakefile").stdout


MODULE = """
import yaml

module hybridflow:
    snakefile:
        "workflow/Snakefile"
    config:
        yaml.safe_load(open("whole.yaml"))

use rule * from hybridflow as hybridflow_*
"""
OWN = """
rule own:
    output:
        "own.txt",
    shell:
        "touch {output}"
"""


@pytest.mark.parametrize(("snakefile", "target"), [(OWN + MODULE, "own"), (MODULE + OWN, "hybridflow_all")])
def test_as_a_module_it_leaves_the_target_of_the_other_workflow(project: Project, snakefile: str, target: str) -> None:
    project.write("whole.yaml", yaml.safe_dump(read_config(ROOT / "config.yaml", MICRO)))
    project.write("other.smk", snakefile)
    counts = dry_run(project, "--snakefile", "other.smk")
    assert target in counts
    assert ("own" in counts, "hybridflow_all" in counts) == (target == "own", target != "own")


def test_a_full_size_run_without_a_gpu_needs_a_setting(project: Project) -> None:
    environment = project.environment(CUDA_VISIBLE_DEVICES="")
    done = project.run(sys.executable, "-m", "snakemake", "--cores", "1", check=False, env=environment)
    assert done.returncode != 0
    assert "has no GPU that PyTorch can use" in done.stdout
    assert "set `training.device: cpu`" in done.stdout
    assert "[1/" not in done.stdout


def test_the_package_must_be_there_to_read_the_workflow(project: Project) -> None:
    (project.path / "src/hybridflow/config/yaml_files.py").unlink()
    done = project.run(sys.executable, "-m", "snakemake", "-n", check=False)
    assert "run `make setup` and use .venv/bin/snakemake" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_second_run_has_nothing_to_do(finished: Project) -> None:
    assert "Nothing to be done" in finished.snakemake("-n")


def test_one_changed_setting_retrains_its_variant_alone(finished: Project) -> None:
    finished_config = "variants: {dcgan-0.5: {adversarial: {label_smoothing: 0.2}}}"
    (finished.path.parent / "changed.yaml").write_text(finished_config)
    counts = dry_run(finished, "--configfile", "micro.yaml", "../changed.yaml")
    assert counts["train_variant"] == 1
    assert counts["sample_images"] == 1
    assert "prepare_extractor" not in counts


def test_the_table_says_whether_the_experiment_is_small(finished: Project) -> None:
    counts = dry_run(finished, "--configfile", "micro.yaml", "--config", "small=false")
    assert "build_table" in counts
    assert "evaluate_fidelity" not in counts


def test_a_setting_of_the_evaluation_retrains_nothing(finished: Project) -> None:
    (finished.path.parent / "sampling.yaml").write_text("sampling: {temperature: 0.9}")
    counts = dry_run(finished, "--configfile", "micro.yaml", "../sampling.yaml")
    assert "train_variant" not in counts
    assert counts["sample_images"] == 2


def test_temperatures_train_nothing(finished: Project, tmp_path: Path) -> None:
    project = finished.copy(tmp_path / "temperatures")
    project.write("cold.yaml", "evaluation: {temperatures: [0.5, 1.0]}")
    counts = dry_run(project, "--configfile", "micro.yaml", "cold.yaml")
    assert counts["sample_temperature"] == counts["measure_temperature"] == counts["evaluate_temperature"] == 2
    assert not {"train_variant", "sample_images", "build_table"} & set(counts)

    project.snakemake("cold.yaml")
    results = project.path / "results" / "micro"
    table = pd.read_csv(results / "temperature.csv")
    fd_cifar = table[(table.metric == "fd_cifar") & (table.variant == "baseline")]
    assert list(fd_cifar.temperature) == [0.5, 1.0]
    assert fd_cifar.value.nunique() == 2
    own = json.loads((results / "baseline" / "seed0" / "fidelity.json").read_text())
    assert fd_cifar.value.iloc[1] == pytest.approx(own["metrics"]["fd_cifar"]["value"])
    cold = results / "baseline" / "seed0" / "temperature-0.5"
    assert json.loads((cold / "samples.json").read_text())["sampling"]["temperature"] == 0.5
    assert not (cold / "samples.npy").exists()
    assert (results / "figures" / "temperature.png").read_bytes().startswith(b"\x89PNG")
    assert "Nothing to be done" in project.snakemake("cold.yaml", "-n")


def test_an_exchanged_file_is_named(finished: Project, tmp_path: Path) -> None:
    project = finished.copy(tmp_path / "damaged")
    results = project.path / "results" / "micro"
    checkpoint = results / "baseline" / "seed0" / "checkpoint.safetensors"
    checkpoint.write_bytes((results / "dcgan-0.5" / "seed0" / "checkpoint.safetensors").read_bytes())
    output = project.snakemake("--until", "evaluate_likelihood", check=False)
    assert "checkpoint.safetensors is damaged or was exchanged: results/micro/baseline/seed0/checkpoint.json" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_fid_with_other_weights_is_measured_but_never_called_fid(finished: Project, tmp_path: Path) -> None:
    project = finished.copy(tmp_path / "standin")
    write_random_inception(project.path / "random.pth")
    metrics = "metrics: [fid, inception_score, fd_cifar], extractors: {inception: {weights: random.pth}}"
    project.write("fid.yaml", f"evaluation: {{{metrics}}}")
    project.snakemake("fid.yaml")
    results = project.path / "results" / "micro"
    fidelity = json.loads((results / "baseline" / "seed0" / "fidelity.json").read_text())
    assert fidelity["metrics"]["fid"]["value"] > 0
    assert fidelity["metrics"]["inception_score"]["value"] >= 1
    assert (
        fidelity["weights_sha256"]["inception"]
        == hashlib.sha256((project.path / "random.pth").read_bytes()).hexdigest()
    )
    assert pd.read_csv(results / "table1.csv")[["fid", "inception_score"]].isna().all(axis=None)
    assert "stand-in" in (results / "table1.md").read_text()
    # The distances that were measured before are the same, and nothing was trained for the new one
    before = json.loads((finished.path / "results" / "micro" / "baseline" / "seed0" / "fidelity.json").read_text())
    assert fidelity["metrics"]["fd_cifar"] == before["metrics"]["fd_cifar"]
    assert len(list((project.path / "store").glob("*.safetensors"))) == 3


@pytest.mark.slow
def test_a_folder_of_images_takes_the_place_of_cifar10(project: Project) -> None:
    for split, chosen in (("train", IMAGES[:40]), ("test", IMAGES[40:])):
        folder = project.path / "my images" / split
        folder.mkdir(parents=True)
        for index, image in enumerate(chosen):
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{index:03}.png")
    own = """
        dataset: {source: folder, folder: my images}
        evaluation: {metrics: [], likelihood: {images: 20, batch_size: 10}}
        variants: {dcgan-0.5: null}
    """
    project.write("own.yaml", textwrap.dedent(own))
    project.snakemake("own.yaml")
    table = pd.read_csv(project.path / "results" / "micro" / "table1.csv")
    assert list(table.variant) == ["baseline"]
    assert np.isfinite(table.bpd).all()
    assert list(table.columns) == COLUMNS + REFERENCES
    assert table[REFERENCES].isna().all(axis=None), "what others report is about CIFAR-10"
    (arrays,) = (project.path / "resources").glob("folder-*/train.npy")
    assert np.array_equal(np.load(arrays), IMAGES[:40])

    # Another image is another dataset: its model has another key
    before = dry_run(project, "--configfile", "micro.yaml", "own.yaml")
    (project.path / "my images" / "train" / "000.png").unlink()
    after = dry_run(project, "--configfile", "micro.yaml", "own.yaml")
    assert before == {}
    assert after["prepare_dataset"] == after["train_variant"] == 1
