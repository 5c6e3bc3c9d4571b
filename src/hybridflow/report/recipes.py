"""Recipes: variants that differ only in the adversarial weight, and in what a further step of it needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from hybridflow.config.experiment import Variant
from hybridflow.report.results import differences

LIKELIHOOD = "likelihood alone"
TOLD = 2  # settings that a name can tell


def recipes(variants: Mapping[str, Variant]) -> dict[str, str]:
    """The name of every variant's recipe: its discriminator, and its loss and family where the variants differ in it.

    A weight that is there twice in a recipe splits it by the other settings, whose differences join the name; where
    these are too many to read, the variant's name without its weight.
    """
    losses = {variant.adversarial.loss for variant in variants.values() if variant.discriminator}
    families = {variant.generator.family for variant in variants.values()}
    groups: dict[str, list[Variant]] = defaultdict(list)
    for variant in variants.values():
        parts = [variant.discriminator_name or LIKELIHOOD]
        if variant.discriminator and len(losses) > 1:
            parts.append(variant.adversarial.loss)
        if len(families) > 1:
            parts.append(variant.generator.family)
        groups[", ".join(parts)].append(variant)
    return {name: recipe for group, members in groups.items() for name, recipe in _split(group, members).items()}


def _split(group: str, members: list[Variant]) -> dict[str, str]:
    weights = [variant.adversarial_weight for variant in members]
    if members[0].discriminator is None or len(set(weights)) == len(weights):
        return {variant.name: group for variant in members}
    settings = [variant.model_dump(include={"generator", "adversarial", "training"}) for variant in members]
    dotted = sorted({name for other in settings for name, _, _ in differences(settings[0], other)})
    told = {name: name.rpartition(".")[2] for name in dotted}
    if len(set(told.values())) < len(told):  # two settings with one last part
        told = {name: name for name in dotted}
    labels = {
        variant.name: ", ".join([group, *(f"{told[name]} {_shown(_value(own, name))}" for name in dotted)])
        for variant, own in zip(members, settings, strict=True)
    }
    if len(dotted) <= TOLD:
        return labels
    stems = {
        variant.name: variant.name.removesuffix(f"{variant.adversarial_weight:g}").rstrip("-_") for variant in members
    }
    told_apart = (
        len({*labels.values()}) == len({*stems.values()}) == len({(labels[name], stems[name]) for name in labels})
    )
    if not told_apart or not all(stems.values()):
        return labels
    return {name: f"{group}, {stem}" for name, stem in stems.items()}


def _value(settings: Any, dotted: str) -> Any:
    for part in dotted.split("."):
        settings = settings.get(part) if isinstance(settings, Mapping) else None
    return settings


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
