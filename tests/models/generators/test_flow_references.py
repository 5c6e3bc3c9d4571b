"""Glow and RealNVP against numbers of published implementations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hybridflow.cli.main import main
from hybridflow.models.generators import glow_reference, realnvp_reference
from hybridflow.models.generators.base import Flow
from hybridflow.models.generators.reference import REQUIRED, config_of, deviations
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.noise import GeneratorNoise

DATA = Path(__file__).parents[2] / "data"
MODULES = {"glow": glow_reference, "realnvp": realnvp_reference}
LATENTS = {"glow": "latents_standard", "realnvp": "latents"}
every_family = pytest.mark.parametrize("family", MODULES)


def path_of(family: str) -> Path:
    return DATA / f"{family}_reference_tiny.npz"


def arrays_of(family: str) -> dict[str, np.ndarray]:
    with np.load(path_of(family), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def configured(arrays: dict[str, np.ndarray], **changes: object) -> dict[str, np.ndarray]:
    """The arrays with other values in their configuration; None removes one."""
    values = json.loads(arrays["config_json"].tobytes()) | changes
    text = json.dumps({name: value for name, value in values.items() if value is not None})
    return arrays | {"config_json": np.frombuffer(text.encode(), np.uint8)}


@every_family
def test_published_numbers_are_reproduced(family, capsys):
    assert main(["check-reference", str(path_of(family))]) == 0
    out = capsys.readouterr().out
    assert "float64: log_prob" in out
    assert "float32: log_prob" in out
    assert f"{family}: agrees with {path_of(family)}" in out


@every_family
def test_single_precision_is_close(family):
    flow, arrays = MODULES[family].read_reference(path_of(family))
    found = deviations(flow.eval(), arrays, torch.float32, LATENTS[family])
    allowed = {"log_prob": 1e-6, "latents": 2e-5, "sample": 1e-5, "round_trip": 2e-5}
    assert all(value <= allowed[name] for name, value in found.items()), found


@every_family
@pytest.mark.parametrize("name", ["log_prob", "latents/0", "latents/1", "sample", "sample_latents/1", "nan"])
def test_any_other_number_is_noticed(family, name, tmp_path, capsys):
    arrays = arrays_of(family)
    if name == "nan":
        arrays["sample"][0, 0, 0, 0] = np.nan
    elif name == "log_prob":
        arrays[name] = arrays[name] * (1 + 1e-11)
    else:
        name = name.replace("latents", LATENTS[family]) if name.startswith("latents") else name
        arrays[name] = arrays[name] * arrays[name].dtype.type(1.00001)
    np.savez(tmp_path / "changed.npz", **arrays)
    assert main(["check-reference", str(tmp_path / "changed.npz")]) == 1
    out = capsys.readouterr().out
    assert f"{family}: DISAGREES" in out


@every_family
def test_every_weight_has_one_published_counterpart(family):
    flow, arrays = MODULES[family].read_reference(path_of(family))
    ours, theirs = zip(*MODULES[family].name_pairs(flow), strict=True)
    known = {name for name in flow.state_dict() if not name.endswith((".initialized", ".num_batches_tracked"))}
    without_bias = {name for name in ours if name.endswith("conv1.bias")}
    assert set(ours) - without_bias == known
    assert len(set(theirs)) == len(theirs)
    weights = {name.removeprefix("state_dict/") for name in arrays if name.startswith("state_dict/")}
    assert weights - set(theirs) == {"glow": {"prior_h"}, "realnvp": {"data_constraint"}}[family]


OTHER_SIZES = [
    ("glow", {"L": 3, "K": 3, "hidden_channels": 5, "data_shape": [3, 8, 16]}),
    ("glow", {"L": 1, "K": 1, "flow_coupling": "additive"}),
    ("glow", {"learn_top": False, "actnorm_scale": 2.0}),
    ("realnvp", {"num_scales": 3, "mid_channels": 4, "num_blocks": 2, "data_shape": [3, 8, 16]}),
    ("realnvp", {"num_scales": 1, "batch_norm_eps": 1e-3, "data_constraint": 0.8}),
]


@pytest.mark.parametrize(("family", "changes"), OTHER_SIZES)
def test_files_of_other_sizes(family, changes, tmp_path):
    # Written from a model of these sizes, under the published names
    arrays = configured(arrays_of(family), **changes)
    module, settings = MODULES[family], config_of(arrays)
    torch.manual_seed(0)
    model = module.published_model(settings).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((parameter + 0.1 * torch.randn_like(parameter)).float())
    own = model.state_dict()
    weights = {
        f"state_dict/{theirs}": -own[ours] if ".actnorm." in theirs else own[ours]
        for ours, theirs in module.name_pairs(model)
        if ours in own
    }
    np.savez(
        tmp_path / "other.npz",
        config_json=arrays["config_json"],
        **{name: value.float().numpy() for name, value in weights.items()},
        **{name: value.numpy() for name, value in numbers(model, LATENTS[family]).items()},
    )
    flow, stored = module.read_reference(tmp_path / "other.npz")
    agrees, sentences = zip(*module.check_reference(tmp_path / "other.npz"), strict=True)
    assert all(agrees), sentences
    assert flow.image_shape == tuple(settings["data_shape"])
    if "L" in changes and changes["L"] == 3:
        assert {"state_dict/flow.layers.9.conv.conv.weight", "state_dict/flow.layers.13.invconv.weight"} <= set(stored)
    if changes.get("num_scales") == 3:
        assert "state_dict/flows.next_block.next_block.in_couplings.3.st_net.skips.1.conv.weight_v" in stored
        assert "state_dict/flows.next_block.out_couplings.2.rescale.weight_g" in stored


@torch.no_grad()
def numbers(model: Flow, prefix: str) -> dict[str, torch.Tensor]:
    """What a reference file says of a model in double precision."""
    noise = GeneratorNoise(0, dtype=torch.float64)
    x = torch.randint(0, 256, (2, *model.image_shape), dtype=torch.uint8)
    u = (2 * torch.randint(0, 256, x.shape) + 1) / 512
    encoding = model.encode(x, lambda _: torch.special.ndtri(u.double()))
    # of other images: an affine Glow with random weights may overflow at random latents
    drawn = [latent.float().double() for latent in model.encode(255 - x, noise).latents]
    values = {"u": u, "log_prob": encoding.log_prob, "sample": model.decode(drawn), "x": x}
    for index, (latent, draw) in enumerate(zip(encoding.latents, drawn, strict=True)):
        values |= {f"{prefix}/{index}": latent, f"sample_latents/{index}": draw}
    return values


@every_family
def test_incomplete_or_foreign_files_are_named(family, tmp_path):
    arrays, read = arrays_of(family), MODULES[family].read_reference
    for name in (*REQUIRED, f"{LATENTS[family]}/0"):
        np.savez(tmp_path / "a.npz", **{key: value for key, value in arrays.items() if key != name})
        with pytest.raises(UserError, match=f"it has no {name}"):
            read(tmp_path / "a.npz")
    sizes = {"glow": ("K", "hidden_channels"), "realnvp": ("num_blocks", "mid_channels")}[family]
    for changes, sentence in (
        ({sizes[0]: None}, f"its config_json has no '{sizes[0]}'"),
        ({sizes[0]: 0}, "its config_json describes no model of this package"),
        ({"data_shape": [3, 5, 8]}, "needs sides that are multiples of"),
        ({sizes[1]: 7}, "but this architecture needs"),
        ({sizes[0]: 3}, "is missing; the architecture in the config is another one"),
    ):
        np.savez(tmp_path / "a.npz", **configured(arrays, **changes))
        with pytest.raises(UserError, match=sentence):
            read(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("option", "value"), [("LU_decomposed", True), ("flow_permutation", "shuffle"), ("y_condition", True)]
)
def test_another_kind_of_glow_is_refused(option, value, tmp_path):
    np.savez(tmp_path / "a.npz", **configured(arrays_of("glow"), **{option: value}))
    with pytest.raises(UserError, match=f"{option} is {value!r}, but Glow has"):
        glow_reference.read_reference(tmp_path / "a.npz")
