"""From a configuration to validated settings."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridflow.config.adversarial import DISCRIMINATORS, LOSSES, AdversarialSettings, DiscriminatorSettings
from hybridflow.config.evaluation import EvaluationSettings
from hybridflow.config.experiment import EvaluationEntry, ExperimentFile, Settings, Variant, VariantEntry
from hybridflow.config.extractors import EXTRACTORS
from hybridflow.config.generators import GENERATORS, GeneratorSettings
from hybridflow.config.metrics import METRICS
from hybridflow.config.sweeps import expand_sweeps
from hybridflow.config.training import TrainingSettings
from hybridflow.config.validation import choose, hint, shown, validate
from hybridflow.config.yaml_files import merge, read_config
from hybridflow.runtime.errors import UserError


def parse_settings(config: Any) -> Settings:
    """Validates a merged configuration mapping and resolves its variants.

    A variant or discriminator that is set to ``null`` is left out, so that a preset can drop one of the base file's.
    Sweeps are expanded first.
    Variants are put into the table's order, since merging files does not keep any: by weight, then discriminator, then
    how many others they start from, then name.

    Raises:
        UserError: names the first thing that is wrong.
    """
    if not isinstance(config, dict):
        raise UserError(f"config: it is {shown(config)}, but it must be a mapping of settings.")
    for section in ("variants", "discriminators"):
        if isinstance(config.get(section), dict):
            config = config | {section: {name: entry for name, entry in config[section].items() if entry is not None}}
    config, places = expand_sweeps(config)
    file = validate(ExperimentFile, config, "")
    load_extensions(file.extensions)
    discriminators = {
        name: choose(DISCRIMINATORS, "kind", entry, f"discriminators.{name}")
        for name, entry in file.discriminators.items()
    }
    base = _Base(
        choose(GENERATORS, "family", file.generator, "generator", "denseflow"),
        choose(LOSSES, "loss", file.adversarial, "adversarial", "non_saturating"),
        file.training,
        discriminators,
    )
    places = {name: places.get(name, f"variants.{name}") for name in file.variants}
    variants = {name: _resolve(base, name, entry, places[name]) for name, entry in file.variants.items()}
    for name, variant in variants.items():
        _check_variant(variant, variants, places[name])
    settings = Settings(
        experiment=file.experiment,
        small=file.small,
        extensions=file.extensions,
        dataset=file.dataset,
        training=file.training,
        sampling=file.sampling,
        evaluation=_evaluation(file.evaluation),
        variants={name: variants[name] for name in sorted(variants, key=lambda name: _place(variants, name))},
        seeds=file.seeds,
    )
    _check_distances(settings, places)
    _check_experiment(settings)
    return settings


def load_settings(*paths: str | Path) -> Settings:
    """Reads YAML files, later ones over earlier ones, as ``snakemake --configfile`` does.

    Raises:
        UserError: a file cannot be read or is not valid.
    """
    return parse_settings(read_config(*paths))


def load_extensions(paths: tuple[str, ...]) -> None:
    """Runs Python files that add entries to the registries; each once in a process.

    Raises:
        UserError: a file cannot be read, or running it fails.
    """
    for path in paths:
        file = Path(path).resolve()
        name = f"hybridflow_extension_{file.stem}"
        if getattr(sys.modules.get(name), "__file__", None) == str(file):
            continue
        if not file.is_file():
            raise UserError(f"config: `extensions` names {path!r}, which is not a file here; correct the path.")
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None:
            raise UserError(
                f"config: `extensions` names {path!r}, which is not a Python file; its name must end in .py."
            )
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise UserError(f"config: the extension {path} failed{_reason(error, file)}; correct it.") from error


def _reason(error: BaseException, file: Path) -> str:
    """In which line of a file an error arose, if it did in one, and what it says, on one line."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    said = [line.strip() for line in str(error).splitlines() if "errors.pydantic.dev" not in line]
    return f"{f' in line {lines[-1]}' if lines else ''}: {': '.join([type(error).__name__, *filter(None, said)])}"


@dataclass(frozen=True)
class _Base:
    """What every variant starts from."""

    generator: GeneratorSettings
    adversarial: AdversarialSettings
    training: TrainingSettings
    discriminators: Mapping[str, DiscriminatorSettings]


def _resolve(base: _Base, name: str, entry: VariantEntry, where: str) -> Variant:
    discriminators = base.discriminators
    if entry.discriminator is not None and entry.discriminator not in discriminators:
        raise UserError(
            f"config: `{where}.discriminator` is {shown(entry.discriminator)}, which is not defined under "
            f"`discriminators`{hint(entry.discriminator, discriminators)}."
        )
    return Variant(
        name=name,
        discriminator_name=entry.discriminator,
        discriminator=discriminators[entry.discriminator] if entry.discriminator is not None else None,
        adversarial_weight=entry.adversarial_weight,
        init_from=entry.init_from,
        generator=choose(
            GENERATORS, "family", merge(base.generator.model_dump(), entry.generator), f"{where}.generator"
        ),
        adversarial=choose(
            LOSSES, "loss", merge(base.adversarial.model_dump(), entry.adversarial), f"{where}.adversarial"
        ),
        training=validate(TrainingSettings, merge(base.training.model_dump(), entry.training), f"{where}.training"),
        reference=entry.reference,
    )


def _evaluation(entry: EvaluationEntry) -> EvaluationSettings:
    for name in entry.metrics:
        if name not in METRICS:
            raise UserError(
                f"config: `evaluation.metrics` names {shown(name)}, which is not known{hint(name, METRICS)}."
            )
        if METRICS[name].extractor not in EXTRACTORS:
            extractor = METRICS[name].extractor
            raise UserError(
                f"config: the metric {name!r} is registered with the extractor {shown(extractor)}, which is not known"
                f"{hint(extractor, EXTRACTORS)}; correct its file under `extensions`."
            )
    for name in entry.extractors:
        if name not in EXTRACTORS:
            raise UserError(f"config: `evaluation.extractors.{name}` is not known{hint(name, EXTRACTORS)}.")
    metrics = tuple(dict.fromkeys(entry.metrics))
    for name in entry.table or ():
        if name not in metrics:
            raise UserError(
                f"config: `evaluation.table` names {shown(name)}, which is not in `evaluation.metrics`"
                f"{hint(name, metrics)}."
            )
    extractors = {
        name: validate(EXTRACTORS[name].settings, entry.extractors.get(name, {}), f"evaluation.extractors.{name}")
        for name in dict.fromkeys([*entry.needed_extractors, *entry.extractors])
    }
    return EvaluationSettings(**dict(entry) | {"metrics": metrics, "extractors": extractors})


def _place(variants: Mapping[str, Variant], name: str) -> tuple[float, str, int, str]:
    ancestors, current = 0, variants[name].init_from
    while current is not None:
        ancestors, current = ancestors + 1, variants[current].init_from
    return variants[name].adversarial_weight, variants[name].discriminator_name or "", ancestors, name


def _check_variant(variant: Variant, variants: Mapping[str, Variant], where: str) -> None:
    weight, training = variant.adversarial_weight, variant.training
    if variant.discriminator is None and weight > 0:
        raise UserError(
            f"config: `{where}` has adversarial_weight {weight:g} but no discriminator; name one, or set the "
            "weight to 0."
        )
    if variant.discriminator is not None and weight == 0:
        raise UserError(
            f"config: `{where}` has discriminator {variant.discriminator_name!r} but adversarial_weight 0; "
            "give it a weight above 0, or remove the discriminator."
        )
    if not variant.generator.has_likelihood and weight < 1:
        raise UserError(
            f"config: `{where}` has adversarial_weight {weight:g}, but its generator family "
            f"{variant.generator.family!r} has no likelihood; set the weight to 1."
        )
    if weight == 1 and variant.adversarial.adaptive_weight:
        raise UserError(
            f"config: `{where}` has adversarial_weight 1, so there is no likelihood gradient for "
            "adversarial.adaptive_weight to measure the other by; set it to false there, or lower the weight."
        )
    batch_norm = variant.discriminator is not None and variant.discriminator.has_batch_norm
    if batch_norm and training.devices > 1 and variant.adversarial.penalties.second_derivatives:
        raise UserError(
            f"config: `{where}.adversarial.penalties` need second derivatives, which BatchNorm over several devices "
            "does not have; set training.devices to 1, the penalties to null or, for r1 and r2, finite_differences to "
            "true."
        )
    if variant.init_from is not None:
        if variant.init_from not in variants:
            raise UserError(
                f"config: `{where}.init_from` is {shown(variant.init_from)}, which is not a variant"
                f"{hint(variant.init_from, variants)}."
            )
        if variants[variant.init_from].generator != variant.generator:
            raise UserError(
                f"config: `{where}.generator` differs from that of `init_from: {variant.init_from}`; "
                "a variant can start only from a checkpoint of the same architecture."
            )
    seen, current = [variant.name], variant.init_from
    while current is not None and current in variants:
        if current in seen:
            raise UserError(f"config: `{where}.init_from` leads back to {current!r}; remove the circle.")
        seen.append(current)
        current = variants[current].init_from


def _check_distances(settings: Settings, places: Mapping[str, str]) -> None:
    compared = [name for name, split in settings.evaluation.references if split == "train"]
    for name, variant in settings.variants.items():
        extractor = variant.training.distance.extractor
        if extractor is not None and extractor not in compared:
            shared = extractor == settings.training.distance.extractor
            key = f"{'' if shared else f'{places[name]}.'}training.distance.extractor"
            raise UserError(
                f"config: `{key}` is {shown(extractor)}, but no metric of `evaluation.metrics` compares its features "
                f"with the training split{hint(extractor, compared)}; add one, such as fd_cifar for cifar_classifier, "
                f"or set `{key}` to null."
            )


def _check_experiment(settings: Settings) -> None:
    if settings.evaluation.likelihood.split == "holdout" and settings.dataset.holdout < 2:
        raise UserError(
            "config: evaluation.likelihood.split is 'holdout', but dataset.holdout keeps no images back; set it to 2 "
            "or more."
        )
    if settings.dataset.source == "folder":
        for metric in settings.evaluation.metrics:
            if EXTRACTORS[METRICS[metric].extractor].settings.needs_labels:
                raise UserError(
                    f"config: `evaluation.metrics` names {metric!r}, whose classifier is trained on CIFAR-10's labels, "
                    "but dataset.source is 'folder'; take it out of the list."
                )
    for metric in [] if settings.small else settings.evaluation.undersampled(settings.sampling.images):
        features = settings.evaluation.extractors[METRICS[metric].extractor].features
        raise UserError(
            f"config: `sampling.images` is {settings.sampling.images}, but `evaluation.metrics` names {metric!r}, "
            f"which compares covariances of {features} features and needs more images than that; draw more images, "
            "take the metric out of the list, or set `small: true`, which marks the numbers as not comparable."
        )
