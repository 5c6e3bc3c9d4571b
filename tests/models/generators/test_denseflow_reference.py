"""The model against numbers of the published implementation."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from hybridflow.cli.main import main
from hybridflow.models.generators.denseflow import DenseFlow
from hybridflow.models.generators.denseflow_reference import (
    deviations,
    load_published,
    name_pairs,
    read_reference,
)
from hybridflow.models.transforms.actnorm import ActNorm
from hybridflow.runtime.errors import UserError

REFERENCE = Path(__file__).parents[2] / "data" / "denseflow_reference_tiny.npz"


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(REFERENCE, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def reference():
    return read_reference(REFERENCE)


def published_of(arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    prefix = "state_dict/"
    return {k.removeprefix(prefix): torch.from_numpy(v.copy()) for k, v in arrays.items() if k.startswith(prefix)}


def test_reference_numbers_are_reproduced(capsys):
    assert main(["check-reference", str(REFERENCE)]) == 0
    out = capsys.readouterr().out
    assert "eval: log_prob" in out
    assert "train: log_prob" in out
    assert f"denseflow: agrees with {REFERENCE}" in out


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("eval/log_prob", lambda a: a * (1 + 1e-5)),
        ("train/log_prob", lambda a: np.where(np.arange(len(a)) == 0, np.nan, a).astype(a.dtype)),
        ("train/sample", lambda a: a + np.float32(2e-5)),
        ("state_dict/base_dist.loc", lambda a: a + np.eye(1, 72, dtype=a.dtype).reshape(a.shape) * a.dtype.type(0.05)),
        ("eval/noise/1", lambda a: a * np.float32(1.01)),
    ],
)
def test_any_other_number_is_noticed(arrays, tmp_path, capsys, name, change):
    np.savez(tmp_path / "changed.npz", **(arrays | {name: change(arrays[name])}))
    assert main(["check-reference", str(tmp_path / "changed.npz")]) == 1
    assert "DISAGREES" in capsys.readouterr().out


def test_every_weight_matters(reference):
    # Each of our parameters and running statistics has one published counterpart, and none is used twice.
    flow, arrays = reference
    ours, theirs = zip(*name_pairs(flow), strict=True)
    own = {name for name in flow.state_dict() if not name.endswith((".initialized", ".num_batches_tracked"))}
    assert set(ours) == own
    assert len(set(theirs)) == len(theirs) == len(own)
    assert {f"state_dict/{name}" for name in theirs} <= set(arrays)


def test_comparison_leaves_the_model_as_it_was(reference):
    flow, arrays = reference
    before = {name: value.clone() for name, value in flow.state_dict().items()}
    deviations(flow, arrays, "train")
    assert all(torch.equal(value, before[name]) for name, value in flow.state_dict().items())


def test_weights_are_loaded_as_they_are(reference):
    flow, arrays = reference
    assert all(m.initialized for m in flow.modules() if isinstance(m, ActNorm))
    state = flow.state_dict()
    for ours, theirs in name_pairs(flow):
        np.testing.assert_array_equal(
            state[ours].numpy(), arrays[f"state_dict/{theirs}"].astype(np.float32), err_msg=ours
        )


def test_unreadable_files(tmp_path, capsys):
    assert main(["check-reference", str(tmp_path / "none.npz")]) == 2
    assert "error: cannot read" in capsys.readouterr().err
    (tmp_path / "bad.npz").write_bytes(b"garbage")
    (tmp_path / "cut.npz").write_bytes(REFERENCE.read_bytes()[:5000])
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("bad.npz", "cut.npz", "empty.npz", "array.npy"):
        with pytest.raises(UserError, match=f"cannot read the reference file .*{name}"):
            read_reference(tmp_path / name)
    with pytest.raises(UserError, match="is not a DenseFlow reference file: it has no config_json"):
        read_reference(tmp_path / "other.npz")


@pytest.mark.parametrize("name", ["x", "eval/log_prob", "train/sample"])
def test_incomplete_files_are_refused(arrays, tmp_path, name):
    np.savez(tmp_path / "a.npz", **{key: value for key, value in arrays.items() if key != name})
    with pytest.raises(UserError, match=f"it has no {name}"):
        read_reference(tmp_path / "a.npz")


def fresh(flow: DenseFlow) -> DenseFlow:
    """The same architecture with all weights zero and no ActNorm initialised."""
    other = copy.deepcopy(flow)
    other.load_state_dict({name: torch.zeros_like(value) for name, value in flow.state_dict().items()})
    return other


def test_a_missing_unknown_or_misshaped_array_is_named(reference):
    original, arrays = reference
    published = published_of(arrays)
    flow = fresh(original)
    some = "base_dist.log_scale"
    with pytest.raises(UserError, match=r"published weights: base_dist\.log_scale is missing; the architecture"):
        load_published(flow, {name: value for name, value in published.items() if name != some})
    with pytest.raises(
        UserError, match=r"published weights: extra\.weight has no place in this architecture \(2 such\)"
    ):
        load_published(flow, published | {"extra.weight": torch.zeros(1), "extra.bias": torch.zeros(1)})
    with pytest.raises(
        UserError, match=r"base_dist\.log_scale has shape \(3,\) but this architecture needs \(1, 72, 1, 1\)"
    ):
        load_published(flow, published | {some: torch.zeros(3)})
    assert not all(m.initialized for m in flow.modules() if isinstance(m, ActNorm)), (
        "a refused file leaves the model alone"
    )
    load_published(flow, published)
    assert all(torch.equal(value, original.state_dict()[key]) for key, value in flow.state_dict().items())
