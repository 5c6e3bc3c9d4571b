"""The table: its numbers, what it refuses to mix, and its three forms."""

import math
import re

import pandas as pd
import pytest
from recorded import edit

from hybridflow.config.evaluation import INCEPTION_SHA256
from hybridflow.io.records import write_record
from hybridflow.report.results import VariantInfo
from hybridflow.report.tables.render import escape_latex
from hybridflow.report.tables.table import COLUMNS, SAMPLING_COLUMNS, load_thesis, read_csv, write_table
from hybridflow.runtime.errors import UserError

VARIANTS = [
    VariantInfo("resnet_half", "resnet18", 0.5),
    VariantInfo("NA", None, 0.0),
    VariantInfo("own", "dcgan", 0.25),
]
LIKELIHOOD = {
    "split": "test",
    "images": 10000,
    "importance_samples": 20,
    "seed": 0,
    "elbo_bpd": 4.1,
    "elbo_bpd_se": 0.0075,
    "iwbo_bpd": 4.0,
    "iwbo_bpd_se": 0.007,
}
FIDELITY = {
    "images": 50000,
    "reference_images": 50000,
    "fid": 40.0,
    "fd_cifar": 5.0,
    "fd_cifar_test": 5.5,
    "fid_weights_sha256": INCEPTION_SHA256,
    "classifier_accuracy": 0.912,
}


class Results:
    """Evaluation files of two seeds of each variant, and the table made of them."""

    def __init__(self, folder, seeds=(0, 1)):
        self.folder, self.likelihoods, self.fidelities = folder, {}, {}
        for i, variant in enumerate(VARIANTS):
            for seed in seeds:
                key = (variant.name, seed)
                self.likelihoods[key] = folder / f"{variant.name}-{seed}-likelihood.json"
                self.fidelities[key] = folder / f"{variant.name}-{seed}-fidelity.json"
                checkpoint = {"checkpoint": f"{variant.name}-{seed}"}
                bpd = {"iwbo_bpd": 4.0 + i + 0.1 * seed, "iwbo_bpd_se": 0.007 + 0.001 * i}
                write_record(self.likelihoods[key], {**checkpoint, **LIKELIHOOD, **bpd})
                write_record(self.fidelities[key], {**checkpoint, **FIDELITY, "fid": 40.0 + i + 2 * seed})

    def change(self, files, key=None, **values):
        for path in files.values() if key is None else [files[key]]:
            edit(path, **values)

    def write(self, variants=VARIANTS, small=False, **more):
        out = [self.folder / f"table1.{kind}" for kind in ("csv", "md", "tex")]
        write_table(*out, variants, self.likelihoods, self.fidelities, "my_run", small, **more)
        return [path.read_text(encoding="utf-8") for path in out]


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path)


def test_thesis_values_are_the_published_ones():
    rows = {(row.discriminator, row.factor): (row.bpd, row.fid) for row in load_thesis().itertuples()}
    assert rows == {
        ("none", 0): (3.05, 44),
        ("dcgan", 0.5): (3.35, 41.5),
        ("resnet18", 0.5): (3.3, 40),
        ("resnet18", 1): (6.85, 31),
    }


def test_csv_has_one_row_per_variant_in_order_with_means_and_sample_deviations(results):
    text, _, _ = results.write()
    table = read_csv(results.folder / "table1.csv")
    assert tuple(table.columns) == COLUMNS
    assert list(table.variant) == ["resnet_half", "NA", "own"]
    assert list(table.discriminator) == ["resnet18", "none", "dcgan"]
    assert list(table.seeds) == [2, 2, 2]
    assert list(table.bpd) == pytest.approx([4.05, 5.05, 6.05])
    assert list(table.bpd_sd) == pytest.approx([0.1 / math.sqrt(2)] * 3)
    assert list(table.fid) == pytest.approx([41, 42, 43])
    assert list(table.fid_sd) == pytest.approx([math.sqrt(2)] * 3)
    assert list(table.fd_cifar_sd) == [0, 0, 0]
    assert list(table.thesis_bpd[:2]) == [3.3, 3.05]
    assert list(table.thesis_fid[:2]) == [40, 44]
    assert math.isnan(table.thesis_bpd[2])
    assert text.splitlines()[3].endswith(",,")  # the thesis has no such row: empty, not 0


def test_one_seed_and_missing_fid_leave_cells_empty(tmp_path):
    results = Results(tmp_path, seeds=(0,))
    results.change(results.fidelities, fid=None, fid_weights_sha256=None)
    text, markdown, latex = results.write()
    assert text.splitlines()[1] == "resnet_half,resnet18,0.5,1,4,,,,5,,3.3,40"
    assert "| resnet\\_half | resnet18 | 0.5 | 4.000 | – | 5.000 | 3.3 | 40 |" in markdown
    assert r"resnet\_half & resnet18 & 0.5 & 4.000 & -- & 5.000 & 3.3 & 40 \\" in latex
    assert "FID was not measured" in markdown


def test_likelihood_alone_makes_a_table(results):
    nothing = dict.fromkeys(("fid", "fd_cifar", "fd_cifar_test", "fid_weights_sha256", "classifier_accuracy"))
    results.change(results.fidelities, reference_images=None, **nothing)
    _, markdown, _ = results.write()
    assert "| 4.050 ± 0.071 | – | – |" in markdown
    assert "FD-CIFAR was not measured" in markdown
    assert "generated images" not in markdown


def test_markdown_is_a_table_with_the_note(results):
    _, markdown, _ = results.write(ruler={"test split": 0.02})
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert rows[0] == "| Variant | Discriminator | Factor | BPD ↓ | FID ↓ | FD-CIFAR ↓ | Thesis BPD | Thesis FID |"
    assert len(rows) == 5
    assert {row.count("|") for row in rows} == {9}
    assert "4.050 ± 0.071" in rows[2]
    assert "41.00 ± 1.41" in rows[2]
    for part in (
        "experiment my\\_run",
        "10,000 images of the test split",
        "importance-weighted bound with K = 20",
        "at most 0.0090",  # the largest of the standard errors
        "50,000 generated images against 50,000 training images",
        "test accuracy 91.2 %",
        "It is not FID; its scale is arbitrary",
        "test split 0.02",
        "NA: ELBO 4.100 ± 0.000 BPD",
        "FD-CIFAR against the test images 5.500",
    ):
        assert part in markdown
    assert "small run" not in markdown


def test_a_small_run_says_that_it_is_one(results):
    _, markdown, latex = results.write(small=True)
    for text in (markdown, latex):
        assert "is a small run: its numbers are not comparable with the thesis's" in text


def test_latex_is_escaped_and_balanced(results):
    _, _, latex = results.write()
    assert latex.count(r"\begin{") == latex.count(r"\end{") == 3
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert all(line.count(" & ") == 7 and line.endswith(r" \\") for line in body.strip().splitlines())
    assert latex.isascii()
    assert not re.search(r"(?<!\\)[_%#]", latex.split("\n", 1)[1])
    assert escape_latex(r"a_b&50%\~") == r"a\_b\&50\%\textbackslash{}\textasciitilde{}"


def test_distance_of_other_inception_weights_is_never_called_fid(results):
    results.change(results.fidelities, fid_weights_sha256="ab" * 32)
    _, markdown, _ = results.write()
    assert read_csv(results.folder / "table1.csv").fid.isna().all()
    assert "FID is left out" in markdown
    assert "abababab" in markdown
    assert "Fréchet distance with the stand-in weights 41.00 (not FID)" in markdown


@pytest.mark.parametrize("kind", ["likelihoods", "fidelities"])
@pytest.mark.parametrize("value", ["4.0", True, None, ...])
def test_a_number_that_is_none_is_refused(results, kind, value):
    name = "iwbo_bpd" if kind == "likelihoods" else "images"
    results.change(getattr(results, kind), **{name: value})
    with pytest.raises(UserError, match=rf"{name!r} is .*, not a finite number|has no {name!r}"):
        results.write()


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("likelihoods", {"importance_samples": 1000}),
        ("likelihoods", {"images": 500}),
        ("likelihoods", {"seed": 1}),
        ("likelihoods", {"split": "train"}),
        ("fidelities", {"images": 2000}),
        ("fidelities", {"reference_images": 2000}),
        ("fidelities", {"fid_weights_sha256": "0" * 64}),
        ("fidelities", {"classifier_accuracy": 0.8}),
    ],
)
def test_rows_that_were_evaluated_differently_are_refused(results, kind, change):
    results.change(getattr(results, kind), ("own", 1), **change)
    name = next(iter(change))
    with pytest.raises(UserError, match=rf"{name!r} is .* in .* but .* in .*own-1.*must be evaluated alike"):
        results.write()


def test_files_of_different_checkpoints_are_refused(results):
    results.change(results.fidelities, ("NA", 1), checkpoint="stale")
    with pytest.raises(UserError, match=r"'checkpoint' is 'NA-1' in .* but 'stale' in .*different models"):
        results.write()


def test_a_distance_that_only_some_rows_have_is_refused(results):
    results.change(results.fidelities, ("own", 0), fd_cifar=None)
    with pytest.raises(UserError, match=r"'fd_cifar' is missing in .*own-0"):
        results.write()


def test_missing_evaluations_are_named(results):
    del results.fidelities["own", 1]
    with pytest.raises(UserError, match=r"fidelity.json of variant 'own', seed 1 is missing"):
        results.write()
    del results.likelihoods["own", 1]
    with pytest.raises(UserError, match="no seed of variant 'other' has been evaluated"):
        results.write([*VARIANTS, VariantInfo("other", None, 0.0)])
    with pytest.raises(UserError, match="numbers for 'own', which is not a variant"):
        results.write(VARIANTS[:2])


@pytest.mark.parametrize(("content", "message"), [("{", "is damaged"), ("[]", "is damaged")])
def test_a_broken_file_is_named(results, content, message):
    results.likelihoods["NA", 0].write_text(content)
    with pytest.raises(UserError, match=f"NA-0-likelihood.json.*{message}"):
        results.write()
    results.likelihoods["NA", 0].unlink()
    with pytest.raises(UserError, match=r"NA-0-likelihood.json is missing"):
        results.write()


def test_nothing_is_written_when_something_is_wrong(results):
    results.change(results.likelihoods, ("own", 0), iwbo_bpd=None)
    with pytest.raises(UserError):
        results.write()
    assert not list(results.folder.glob("table1*"))


def test_with_one_training_seed_the_spread_is_that_of_sampling(tmp_path):
    results = Results(tmp_path, seeds=(0,))
    results.change(results.fidelities, repeats=4, fid_sd=0.25, fd_cifar_sd=0.125)
    _, markdown, latex = results.write()
    table = read_csv(tmp_path / "table1.csv")
    assert tuple(table.columns) == COLUMNS + SAMPLING_COLUMNS
    assert table[["fid_sd", "fd_cifar_sd"]].isna().all(axis=None), "these are over training seeds"
    assert list(table.fid_sampling_sd) == [0.25] * 3
    assert list(table.fd_cifar_sampling_sd) == [0.125] * 3
    assert "| NA | none | 0 | 5.000 | 41.00 ± 0.25 | 5.000 ± 0.125 | 3.05 | 44 |" in markdown
    assert r"41.00 $\pm$ 0.25" in latex
    assert "One training seed. Distances are means over 4 sets of samples from different sampling seeds" in markdown
    assert "4 sets of 50,000 generated images against" in markdown
    assert "deviation over seeds" not in markdown


def test_with_several_training_seeds_the_spread_is_over_these(results):
    results.change(results.fidelities, repeats=4, fid_sd=0.25, fd_cifar_sd=0.5)
    results.change(results.fidelities, ("own", 1), fid_sd=0.25, fd_cifar_sd=1.5)
    _, markdown, _ = results.write()
    table = read_csv(results.folder / "table1.csv")
    assert list(table.fid_sd) == pytest.approx([math.sqrt(2)] * 3)
    assert list(table.fd_cifar_sampling_sd) == pytest.approx([0.5, 0.5, math.sqrt((0.25 + 2.25) / 2)])
    assert "41.00 ± 1.41" in markdown
    assert "± is the sample standard deviation over training seeds" in markdown
    assert "means over 4 sets of samples" in markdown


def test_rows_with_another_number_of_sets_are_refused(results):
    results.change(results.fidelities, repeats=1, fid_sd=None, fd_cifar_sd=None)
    results.change(results.fidelities, ("own", 1), repeats=2, fid_sd=0.1, fd_cifar_sd=0.1)
    with pytest.raises(UserError, match=r"'repeats' is 1 in .* but 2 in .*own-1.*must be evaluated alike"):
        results.write()


def test_other_inception_weights_leave_the_spread_of_fid_out(tmp_path):
    results = Results(tmp_path, seeds=(0,))
    results.change(results.fidelities, repeats=4, fid_sd=0.25, fd_cifar_sd=0.5, fid_weights_sha256="ab" * 32)
    results.write()
    assert read_csv(tmp_path / "table1.csv").fid_sampling_sd.isna().all()


def test_read_csv_refuses_another_table(tmp_path):
    pd.DataFrame({"a": [1]}).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(UserError, match="must have the columns variant, "):
        read_csv(tmp_path / "x.csv")
    with pytest.raises(UserError, match="cannot read"):
        read_csv(tmp_path / "missing.csv")
