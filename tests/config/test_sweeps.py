"""Sweeps: what one entry stands for, and the sentence for one that is wrong."""

from typing import Any

import pytest

from hybridflow.config.loading import parse_settings
from hybridflow.config.schema import json_schema
from hybridflow.config.sweeps import expand_sweeps
from hybridflow.runtime.errors import UserError

WEIGHTS: dict[str, Any] = {
    "name": "dcgan-{adversarial_weight:g}-{lr:g}",
    "variant": {"discriminator": "dcgan", "init_from": "baseline", "training": {"epochs": 3}},
    "over": {"adversarial_weight": [0.1, 1], "training.optimizer.lr": [1e-4, 3e-4]},
}


def config(variants: dict | None = None, **sweeps: Any) -> dict[str, Any]:
    return {
        "experiment": "test",
        "discriminators": {"dcgan": {"kind": "dcgan"}},
        "variants": {"baseline": {}, **(variants or {})},
        "sweep": sweeps,
    }


def sweep(**changes: Any) -> dict[str, Any]:
    return config(w=WEIGHTS | changes)


def test_a_variant_for_every_combination() -> None:
    variants = parse_settings(config(weights=WEIGHTS)).variants
    assert list(variants) == [
        "baseline",
        "dcgan-0.1-0.0001",
        "dcgan-0.1-0.0003",
        "dcgan-1-0.0001",
        "dcgan-1-0.0003",
    ]
    one = variants["dcgan-1-0.0003"]
    assert (one.adversarial_weight, one.training.optimizer.lr, one.training.epochs) == (1, 3e-4, 3)
    assert one.training.optimizer.betas == variants["baseline"].training.optimizer.betas
    assert (one.discriminator_name, one.init_from) == ("dcgan", "baseline")


def test_it_is_as_if_the_variants_were_written_out() -> None:
    entry = {"discriminator": "dcgan", "init_from": "baseline"}
    rates = {"w-1": 0.5, "w-2": 0.25}
    written = {name: entry | {"adversarial_weight": rate, "training": {"epochs": 2}} for name, rate in rates.items()}
    swept = {
        name: {"name": name, "variant": entry, "over": {"adversarial_weight": [rate], "training.epochs": [2]}}
        for name, rate in rates.items()
    }
    assert parse_settings(config(**swept)) == parse_settings(config(written))


def test_the_parent_can_be_one_of_another_sweep() -> None:
    late = {
        "name": "late-{training.optimizer.lr:g}",
        "variant": WEIGHTS["variant"] | {"adversarial_weight": 1, "init_from": "dcgan-0.1-{lr:g}"},
        "over": {"training.optimizer.lr": [1e-4, 3e-4]},
    }
    variants = parse_settings(config(weights=WEIGHTS, late=late)).variants
    assert variants["late-0.0003"].init_from == "dcgan-0.1-0.0003"


def test_lists_and_mappings_can_be_values() -> None:
    swept = {"name": "b-{mid_channels[0]}", "over": {"generator.coupling.mid_channels": [[8, 8, 8], [16, 8, 8]]}}
    with pytest.raises(UserError, match=r"has '\{mid_channels\[0\]\}', which is not one setting of `over`"):
        parse_settings(config(s=swept))
    penalties = {
        "name": "p-{inward_gradient}",
        "variant": {"adversarial": {"penalties": {"r1": 2}}},
        "over": {"adversarial.inward_gradient": [True, False], "adversarial.penalties": [{"r2": 1}]},
    }
    found = parse_settings(config(s=penalties)).variants["p-True"].adversarial
    assert (found.inward_gradient, found.penalties.r1, found.penalties.r2) == (True, 2, 1)


def test_a_swept_loss_drops_the_variants_options_and_no_swept_one() -> None:
    swept = {
        "name": "x-{r1}-{loss}",
        "variant": {"adversarial": {"loss": "relativistic", "gradient_clip": 3}},
        "over": {"adversarial.penalties.r1": [1, 2], "adversarial.loss": ["hinge", "relativistic"]},
    }
    found = {name: entry.adversarial for name, entry in parse_settings(config(s=swept)).variants.items()}
    assert [found[f"x-{r1}-{loss}"].penalties.r1 for r1 in (1, 2) for loss in ("hinge", "relativistic")] == [1, 1, 2, 2]
    assert [found[f"x-1-{loss}"].gradient_clip for loss in ("hinge", "relativistic")] == [None, 3]


def test_null_drops_a_sweep_and_the_input_is_not_changed() -> None:
    given = config({"dcgan-1-0.0001": None}, weights=WEIGHTS, other=None)
    assert len(parse_settings(given).variants) == 5, "a variant that is null makes room for one of a sweep"
    assert given == config({"dcgan-1-0.0001": None}, weights=WEIGHTS, other=None)


SENTENCES: list[tuple[dict[str, Any], str]] = [
    (config(w=3), "`sweep.w` is 3, but it must be a mapping of settings."),
    (config() | {"sweep": [1]}, "`sweep` is [1], but it must be a mapping."),
    (config(w={"over": {"adversarial_weight": [1]}}), "`sweep.w.name` is missing."),
    (sweep(variants={}), "`sweep.w.variants` is not a setting; did you mean `variant`?"),
    (sweep(over={"adversarial_weight": 0.5}), "`sweep.w.over.adversarial_weight` is 0.5, but it must be a list."),
    (sweep(over={"adversarial_weight": []}), "`sweep.w.over.adversarial_weight` is [], but it must have at least 1"),
    (sweep(over={}), "`sweep.w.over` is {}, but it must have at least 1 entry."),
    (sweep(name="a", over={"adversarial_wieght": [1]}), "`sweep.w (a).adversarial_wieght` is not a setting; did you"),
    (sweep(name="a", over={"training.optimzer.lr": [1]}), "`sweep.w (a).training.optimzer` is not a setting; did you"),
    (sweep(name="a-{adversarial_weight}", over={"adversarial_weight": [0.5, 2]}), "`sweep.w (a-2).adversarial_weight`"),
    (
        sweep(name="a-{adversarial_weight}", over={"adversarial_weight": [0]}),
        "`sweep.w (a-0)` has discriminator 'dcgan'",
    ),
    (
        sweep(name="a-{weight}"),
        "`sweep.w.name` has '{weight}', which is not one setting of `over` (known: adversarial_weight, ",
    ),
    (sweep(name="{}"), "`sweep.w.name` has '{0}', which is not one setting"),
    (sweep(name="a-{lr"), "`sweep.w.name` is 'a-{lr', which does not fit the values under `over`; write a setting as"),
    (sweep(name="a-{lr:d}"), "`sweep.w.name` is 'a-{lr:d}', which does not fit the values"),
    (sweep(name="a {lr}"), "`sweep.w.name` gives a variant the name 'a 0.0001', but names start with a letter or"),
    (
        sweep(name="a-{lr}"),
        "`sweep.w.name` gives a variant the name 'a-0.0001', which one of `sweep.w` has; write every setting",
    ),
    (config({"dcgan-1-0.0001": {}}, w=WEIGHTS), "the name 'dcgan-1-0.0001', which one of `variants` has; write"),
    (
        config(v=WEIGHTS, w=WEIGHTS),
        "`sweep.w.name` gives a variant the name 'dcgan-0.1-0.0001', which one of `sweep.v` has;",
    ),
    (sweep(variant={"discriminator": "dcgna"}), "`sweep.w (dcgan-0.1-0.0001).discriminator` is 'dcgna', which is not"),
    (sweep(variant=WEIGHTS["variant"] | {"init_from": "x-{lr}"}), ".init_from` is 'x-0.0001', which is not a variant"),
    (sweep(over={"a": list(range(100)), "b": list(range(11))}), "has 1100 combinations, but 1000 is the most; list"),
]


@pytest.mark.parametrize(("wrong", "sentence"), SENTENCES, ids=range(len(SENTENCES)))
def test_sentences(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as error:
        parse_settings(wrong)
    message = str(error.value)
    assert message.startswith("config: ")
    assert sentence in message
    assert message.endswith(".")


def test_without_sweeps_nothing_changes() -> None:
    plain = {"variants": {"a": {}}}
    assert expand_sweeps(plain) == (plain, {})


def test_the_schema_knows_the_settings_of_a_sweep() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(config(weights=WEIGHTS, other=None))
    for wrong in (sweep(variant={"discriminatr": "x"}), sweep(over={"adversarial_weight": 1}), sweep(names="x")):
        assert not validator.is_valid(wrong), wrong
