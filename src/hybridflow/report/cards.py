"""Model cards: one Markdown file for every published variant, with the header that model hubs read.

The header follows https://huggingface.co/docs/hub/model-cards; everything in a card comes from the settings and from
the records, so that a card can be made again from a clone without weights.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from hybridflow.config.metrics import METRICS
from hybridflow.io.files import write_text
from hybridflow.report.results import Results, Row
from hybridflow.report.tables.columns import ARROWS, deviation, mean
from hybridflow.report.tables.costs import cost_table
from hybridflow.report.tables.notes import describe_table
from hybridflow.report.tables.render import MISSING, escape_markdown, markdown_table
from hybridflow.report.works import WORKS
from hybridflow.runtime.errors import UserError
from hybridflow.store.entries import ROOT, Entry, variant_entry

TASK = "unconditional-image-generation"
RECIPE = ("generator", "discriminator", "adversarial", "training")


def write_cards(
    results: Results, dataset_hash: str, configfiles: Sequence[str | Path], store: Path = ROOT
) -> list[Path]:
    """Writes ``cards/<variant>.md`` for every variant whose weights are published for all seeds.

    Args:
        dataset_hash: of the dataset, which the names of the weights depend on.
        configfiles: files over ``config.yaml``, for the command that brings the weights.

    Returns:
        The files, in the order of the table.

    Raises:
        UserError: no variant is published, or the record of a training is missing or damaged.
    """
    settings = results.settings
    entries = {
        name: [variant_entry(settings, name, seed, dataset_hash, store) for seed in settings.seeds]
        for name in settings.variants
    }
    rows = [row for row in results.rows if all(entry.published for entry in entries[row.variant.name])]
    if not rows:
        raise UserError("cards: no variant of this configuration is published; `hybridflow publish` does that.")
    costs, written = cost_table(results), []
    for row in rows:
        name = row.variant.name
        path = Path(row.models[0].files.results, "cards", f"{name}.md")
        text = _card(results, row, entries[name], costs[costs["variant"] == name], configfiles)
        write_text(path, text)
        written.append(path)
    return written


def _card(
    results: Results, row: Row, entries: Sequence[Entry], costs: pd.DataFrame, configfiles: Sequence[str | Path]
) -> str:
    measures = list(_measures(results, row))
    sections = [
        ["---", yaml.safe_dump(_header(results, row, measures), sort_keys=False, allow_unicode=True).rstrip(), "---"],
        [f"# {escape_markdown(row.variant.name)}", "", _summary(results, row, costs)],
        _weights_section(results, entries, configfiles),
        _measure_section(results, measures),
        _use_section(results, row),
        _recipe_section(row, costs),
        ["## Licence", "", _licence(results)],
        ["## Citation", "", *(f"- {escape_markdown(work)}" for work in WORKS)],
    ]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _header(results: Results, row: Row, measures: list[tuple[str, str, int, list[float]]]) -> dict[str, Any]:
    variant, cifar10 = row.variant, results.settings.dataset.source == "cifar10"
    adversarial = ["adversarial-training", variant.adversarial.loss] if variant.discriminator else []
    dataset = {"type": "uoft-cs/cifar10", "name": "CIFAR-10"} if cifar10 else {"type": "images", "name": "own images"}
    metrics = [
        {"type": name, "name": heading, "value": round(mean(values), digits)}
        for name, heading, digits, values in measures
    ]
    entry = {"task": {"type": TASK}, "dataset": dataset, "metrics": metrics}
    return {
        "license": "mit",
        "library_name": "hybridflow",
        "pipeline_tag": TASK,
        "tags": ["hybridflow", variant.generator.family, *adversarial],
        **({"datasets": ["uoft-cs/cifar10"]} if cifar10 else {}),
        "model-index": [{"name": f"{results.settings.experiment}/{variant.name}", "results": [entry]}],
    }


def _summary(results: Results, row: Row, costs: pd.DataFrame) -> str:
    variant, first = row.variant, costs.iloc[0]
    data = "CIFAR-10" if results.settings.dataset.source == "cifar10" else "a folder of images"
    size = f"{first.generator_parameters:,} parameters"
    start = f", from the weights of `{variant.init_from}`" if variant.init_from else ""
    if variant.discriminator is None:
        training = "for the likelihood alone"
    else:
        weight = variant.adversarial_weight
        share = (
            "against the discriminator alone"
            if weight == 1
            else f"with (1 − w) · bits/dim + w · adversarial loss, w = {weight:g}"
        )
        training = (
            f"{share}; the discriminator is `{variant.discriminator.kind}` "
            f"({first.discriminator_parameters:,} parameters), the loss `{variant.adversarial.loss}`"
        )
    seeds = ", ".join(map(str, results.settings.seeds))
    return (
        f"A generative model of the family `{variant.generator.family}` ({size}), trained on {data}{start} {training}. "
        f"Variant `{variant.name}` of the experiment `{results.settings.experiment}`; training seeds: {seeds}."
    )


def _weights_section(results: Results, entries: Sequence[Entry], configfiles: Sequence[str | Path]) -> list[str]:
    weights = [entry.file(".safetensors") for entry in entries]
    files = "".join(f" {shlex.quote(str(path))}" for path in configfiles)
    extensions = results.settings.extensions
    return [
        "## How to get and load the weights",
        "",
        "In a clone of the repository, in its environment:",
        "",
        "```sh",
        *(f"dvc pull {shlex.quote(f'{path}.dvc')}" for path in weights),
        f"hybridflow pull{f' --configfile{files}' if files else ''}   # or everything of this experiment",
        "```",
        "",
        "```python",
        "from pathlib import Path",
        *(["from hybridflow.config.loading import load_extensions"] if extensions else []),
        "from hybridflow.evaluation.sampling import sample_images",
        "from hybridflow.models.checkpoint import load_generator",
        "",
        *(
            [f"load_extensions({json.dumps(list(extensions))})  # they register what the model is built of"]
            if extensions
            else []
        ),
        f"generator, metadata = load_generator(Path({json.dumps(weights[0].as_posix())}))",
        'images = sample_images(generator, range(16), seed=0, temperature=1.0, device="cpu")  # uint8, (16, 3, 32, 32)',
        "```",
    ]


def _measures(results: Results, row: Row) -> Iterator[tuple[str, str, int, list[float]]]:
    """Name, heading, digits and the values, one a seed, of everything that is measured on a variant."""
    if all(model.bounds for model in row.models):
        yield "bpd", "BPD ↓", 3, [model.bounds.iwbo_bpd for model in row.models]
        yield "elbo", "ELBO, BPD ↓", 3, [model.bounds.elbo_bpd for model in row.models]
    for metric in (METRICS[name] for name in results.settings.evaluation.metrics):
        if not results.has_standin(metric.name):
            values = [model.metrics[metric.name].value for model in row.models]
            yield metric.name, f"{metric.heading} {ARROWS[metric.better]}", metric.digits, values


def _measure_section(results: Results, measures: list[tuple[str, str, int, list[float]]]) -> list[str]:
    seeds = [f"Seed {seed}" for seed in results.settings.seeds]
    rows = []
    for _, heading, digits, values in measures:
        shown = [MISSING if value is None else f"{value:.{digits}f}" for value in (mean(values), deviation(values))]
        rows.append([heading, *shown, *(f"{value:.{digits}f}" for value in values)])
    return [
        "## Metrics",
        "",
        *markdown_table(("Metric", "Mean", "Standard deviation", *seeds), rows, ("Metric",)),
        "",
        *(f"- {escape_markdown(note)}" for note in describe_table(results) if not note.startswith("Reference:")),
    ]


def _use_section(results: Results, row: Row) -> list[str]:
    limits = ["No class or text can be asked for, and images have the size of the training images."]
    if results.settings.small:
        limits.append("It is a small model after a short training; its samples are no substitute for real images.")
    if row.variant.generator.has_likelihood:
        limits.append(
            "A high likelihood does not mean that an image shows something: smooth ones can be likelier than real ones."
        )
    limits.append("Metrics compare features of networks; they are no judgement of people.")
    limits.append("It repeats whatever bias its training images have, and was not tested for any use but this one.")
    return [
        "## Intended use and limits",
        "",
        "Research: comparing generative models that were trained and measured alike.",
        "",
        *(f"- {limit}" for limit in limits),
    ]


def _recipe_section(row: Row, costs: pd.DataFrame) -> list[str]:
    settings = {part: value for part, value in row.variant.model_dump(mode="json", include={*RECIPE}).items() if value}
    if row.variant.discriminator is None:
        settings.pop("adversarial")  # says nothing
    runs = [
        [str(run.seed), f"{run.steps:,}", f"{run.images:,}", f"{run.seconds:,.0f} s", run.device]
        for run in costs.itertuples(index=False)
    ]
    columns = ("Seed", "Steps", "Images", "Wall time", "Device")
    return [
        "## Recipe",
        "",
        *markdown_table(columns, runs, ("Device",)),
        "",
        "```yaml",
        yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=110).rstrip(),
        "```",
    ]


def _licence(results: Results) -> str:
    if results.settings.dataset.source != "cifar10":
        return "The weights have the licence of the repository, MIT; the training images are their owner's."
    return (
        "The weights have the licence of the repository, MIT. The authors of CIFAR-10 state no licence of the images; "
        "they ask to be cited."
    )
