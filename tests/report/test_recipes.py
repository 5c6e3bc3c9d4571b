"""Which variants are one recipe, and what it is called."""

from __future__ import annotations

from typing import Any

from hybridflow.config.experiment import Variant
from hybridflow.config.loading import parse_settings
from hybridflow.report.recipes import recipes


def parsed(**variants: Any) -> dict[str, Variant]:
    config = {"experiment": "test", "discriminators": {"dcgan": {"kind": "dcgan"}}, "variants": variants}
    return parse_settings(config).variants


def hybrid(weight: float, **entry: Any) -> dict[str, Any]:
    return {"discriminator": "dcgan", "adversarial_weight": weight, **entry}


def trained(lr: float) -> dict[str, Any]:
    return {"training": {"optimizer": {"lr": lr}}}


def test_loss_and_family_are_named_where_they_differ() -> None:
    variants = parsed(
        a={}, b={"generator": {"family": "glow"}}, c=hybrid(0.5), d=hybrid(0.5, adversarial={"loss": "hinge"})
    )
    assert recipes(variants) == {
        "a": "likelihood alone, denseflow",
        "b": "likelihood alone, glow",
        "c": "dcgan, non_saturating, denseflow",
        "d": "dcgan, hinge, denseflow",
    }


def test_a_step_of_the_weight_may_train_otherwise() -> None:
    variants = parsed(a={}, half=hybrid(0.5, **trained(1e-4)), one=hybrid(1, init_from="half", **trained(1e-5)))
    assert recipes(variants) == {"a": "likelihood alone", "half": "dcgan", "one": "dcgan"}


def test_a_weight_that_is_there_twice_splits_by_what_differs() -> None:
    rates = {f"w{weight}-{lr}": hybrid(weight, **trained(lr)) for weight in (0.5, 1) for lr in (1e-4, 3e-4)}
    found = recipes(parsed(a={}, **rates))
    assert {found[f"w{weight}-0.0001"] for weight in (0.5, 1)} == {"dcgan, lr 0.0001"}
    assert {found[f"w{weight}-0.0003"] for weight in (0.5, 1)} == {"dcgan, lr 0.0003"}


def test_settings_with_one_last_part_are_named_in_full() -> None:
    rates = {
        f"w{number}": hybrid(
            0.5,
            training={"optimizer": {"lr": 1e-4 * number}},
            adversarial={"discriminator_optimizer": {"lr": 1e-3 * number}},
        )
        for number in (1, 2)
    }
    name = "dcgan, adversarial.discriminator_optimizer.lr 0.002, training.optimizer.lr 0.0002"
    assert recipes(parsed(a={}, **rates))["w2"] == name


def test_too_many_settings_to_read_are_what_the_names_say() -> None:
    def three(weight: float, number: int) -> dict[str, Any]:
        return hybrid(
            weight, training={"batch_size": 8 * number, "warmup_steps": number, "ema_decay": 0.9 + 0.01 * number}
        )

    variants = {f"{name}-{weight}": three(weight, n) for n, name in ((1, "slow"), (2, "fast")) for weight in (0.5, 1)}
    found = recipes(parsed(a={}, **variants))
    assert found == {
        "a": "likelihood alone",
        **{"slow-0.5": "dcgan, slow", "slow-1": "dcgan, slow", "fast-0.5": "dcgan, fast", "fast-1": "dcgan, fast"},
    }
    same = {f"v{weight}x{n}": three(weight, n) for n in (1, 2) for weight in (0.5, 1)}
    assert "batch_size 8" in recipes(parsed(a={}, **same))["v0.5x1"], "names that do not tell them apart"
