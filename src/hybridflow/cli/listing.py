"""What a configuration can name: the entries of the registries, one line each."""

from __future__ import annotations

from collections.abc import Iterator

from hybridflow.config.adversarial import DISCRIMINATORS, LOSSES
from hybridflow.config.extractors import EXTRACTORS
from hybridflow.config.generators import GENERATORS
from hybridflow.config.metrics import METRICS
from hybridflow.config.registry import Registered


def listing() -> Iterator[str]:
    """Lines for a terminal: a heading for every registry, then name and summary of its entries."""
    yield "generators (generator.family), with the parameters at the default, published size"
    yield from _rows((name, f"{_parameters(entry):,}  {entry.summary}") for name, entry in GENERATORS.items())
    registries = {
        "discriminators (discriminators.<name>.kind)": DISCRIMINATORS,
        "adversarial losses (adversarial.loss)": LOSSES,
        "feature extractors (evaluation.extractors)": EXTRACTORS,
        "metrics (evaluation.metrics)": METRICS,
    }
    for heading, registry in registries.items():
        yield heading
        yield from _rows((name, entry.summary) for name, entry in registry.items())


def _rows(entries: Iterator[tuple[str, str]]) -> Iterator[str]:
    for name, text in entries:
        yield f"  {name:<24}{text}"


def _parameters(entry: Registered) -> int:
    """Parameters of a generator with the default settings."""
    from hybridflow.models.parameters import count_parameters

    return count_parameters(lambda: entry.load()(entry.settings(), (3, 32, 32)))
