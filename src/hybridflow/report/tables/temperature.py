"""Metrics of samples at several temperatures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hybridflow.config.experiment import Settings
from hybridflow.io.records import read_record
from hybridflow.io.run_folder import RunFolder

COLUMNS = ["metric", "variant", "seed", "temperature", "value", "se"]


def temperature_table(folder: str | Path, settings: Settings) -> pd.DataFrame:
    """One row per metric, variant and temperature, of the models of the first seed; ``se`` is over images.

    Args:
        folder: ``results/<experiment>``.

    Raises:
        UserError: a record is missing or damaged, or of samples at another temperature or of another model.
    """
    rows, seed = [], settings.seeds[0]
    for variant in settings.variants:
        own = RunFolder(folder, variant, seed)
        key = read_record(own.fidelity, ())["checkpoint"]
        runs = {settings.sampling.temperature: own}
        runs |= {float(name): own.at(name) for name in settings.further_temperatures}
        for temperature, run in sorted(runs.items()):
            sampling = settings.sampling.model_copy(update={"temperature": temperature}).identity()
            metrics = read_record(run.fidelity, (), checkpoint=key, sampling=sampling)["metrics"]
            rows += [
                [name, variant, seed, temperature, metrics[name]["value"], metrics[name]["se"]]
                for name in settings.evaluation.metrics
            ]
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"value": float, "se": float})
    order = table.metric.map(list(settings.evaluation.metrics).index)
    return table.iloc[order.argsort(kind="stable")].reset_index(drop=True)
