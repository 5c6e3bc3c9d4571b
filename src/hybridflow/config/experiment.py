"""The experiment's settings: typed, frozen, validated once, before any job starts.

This file is the only definition of what a setting means. ``parse_settings`` turns the merged
configuration mapping into :class:`Settings`; every error is one sentence that names the key, its
value, what is allowed and the nearest valid name. Importing it does not import torch.
"""

from __future__ import annotations

import difflib
import json
import math
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    model_validator,
)

from hybridflow.runtime.errors import UserError

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
RESERVED_NAMES = ("reference", "figures", "logs", "benchmarks", "tensorboard")
S = typing.TypeVar("S", bound="Section")


def _number(value: Any) -> Any:
    """YAML 1.1 reads ``1e-3`` (no dot) as text; everybody who writes it means the number."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise ValueError("must be a number") from None
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be finite")
    return value


def _fits(value: int) -> int:
    if abs(value) >= 2**63:
        raise ValueError("must be less than 2^63")  # no array, seed or step counter is larger
    return value


def _not_reserved(value: str) -> str:
    if value in RESERVED_NAMES:
        raise ValueError(f"is taken by a folder of the results ({', '.join(RESERVED_NAMES)})")
    return value


Int = Annotated[int, Strict(), AfterValidator(_fits)]
Bool = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]
Float = Annotated[float, BeforeValidator(_number), AfterValidator(_finite)]
PositiveInt = Annotated[Int, Field(ge=1)]
PositiveFloat = Annotated[Float, Field(gt=0)]
Share = Annotated[Float, Field(ge=0, le=1)]
Fraction = Annotated[Float, Field(ge=0, lt=1)]
Name = Annotated[Text, Field(pattern=NAME_PATTERN), AfterValidator(_not_reserved)]


class Section(BaseModel):
    """A mapping of the configuration: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetSettings(Section):
    """Where the images come from."""

    source: Literal["cifar10", "folder"] = "cifar10"
    url: Text = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    archive: Text | None = None
    folder: Text | None = None
    holdout: Annotated[Int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _folder_is_given(self) -> DatasetSettings:
        if self.source == "folder" and self.folder is None:
            raise ValueError("folder must name a directory with train/ and test/ when source is 'folder'")
        return self


class CouplingSettings(Section):
    """Coupling networks of the flow; one ``mid_channels`` a scale."""

    mid_channels: tuple[Annotated[Int, Field(ge=2)], ...] = (48, 48, 48)
    depth: PositiveInt = 7
    growth: PositiveInt = 64
    attention: Bool = True
    batch_norm: Bool = True
    log_scale_bound: PositiveFloat | None = None
    shift_bound: PositiveFloat | None = None


class DequantizationSettings(Section):
    """From integers to reals: a flow conditioned on the image, or uniform noise."""

    kind: Literal["variational", "uniform"] = "variational"
    steps: PositiveInt = 4
    mid_channels: PositiveInt = 64
    context_channels: PositiveInt = 64
    depth: PositiveInt = 4
    growth: PositiveInt = 64


class FlowSettings(Section):
    """The generator. The defaults are DenseFlow-74-10."""

    family: Literal["denseflow"] = "denseflow"
    units: tuple[PositiveInt, ...] = (6, 4, 1)
    steps_per_unit: tuple[PositiveInt, ...] = (5, 6, 20)
    growth_rate: Annotated[Int, Field(ge=0)] = 10
    prior_bound: PositiveFloat | None = None
    coupling: CouplingSettings = CouplingSettings()
    dequantization: DequantizationSettings = DequantizationSettings()

    @model_validator(mode="after")
    def _one_entry_per_scale(self) -> FlowSettings:
        scales = len(self.units)
        if not 1 <= scales <= 4:
            raise ValueError(f"units must have 1 to 4 entries, one per scale, not {scales} (32x32 images)")
        for key, entries in (
            ("steps_per_unit", self.steps_per_unit),
            ("coupling.mid_channels", self.coupling.mid_channels),
        ):
            if len(entries) != scales:
                raise ValueError(f"{key} must have one entry per scale: {scales} as in units, not {len(entries)}")
        if self.growth_rate == 0 and max(self.units) > 1:
            raise ValueError("growth_rate must be at least 1 when a scale has more than one unit")
        return self


class DiscriminatorSettings(Section):
    """A discriminator's architecture; ``width`` is the channel count of its first convolution."""

    kind: Literal["dcgan", "resnet18"]
    width: PositiveInt
    spectral_norm: Bool = False


class OptimizerSettings(Section):
    """A first-order optimiser of torch.optim."""

    name: Literal["adam", "adamax", "adamw"] = "adamax"
    lr: PositiveFloat = 1e-3
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    weight_decay: Annotated[Float, Field(ge=0)] = 0.0


class AugmentationSettings(Section):
    """Random changes of a training image: flip, edge padding, translation, centre crop."""

    horizontal_flip: Bool = True
    pad: Annotated[Int, Field(ge=0, le=16)] = 2
    translate: Annotated[Float, Field(ge=0, le=0.5)] = 0.04


class FinalPhaseSettings(Section):
    """Training at one low learning rate after the scheduled epochs."""

    epochs: Annotated[Float, Field(ge=0)] = 20.0
    lr: PositiveFloat = 2e-5


class TrainingSettings(Section):
    """How one variant is trained."""

    batch_size: PositiveInt = 64
    epochs: PositiveFloat = 400.0
    optimizer: OptimizerSettings = OptimizerSettings()
    warmup_steps: Annotated[Int, Field(ge=0)] = 5000
    lr_decay: Annotated[Float, Field(gt=0, le=1)] = 0.9975
    final_phase: FinalPhaseSettings = FinalPhaseSettings()
    gradient_clip: PositiveFloat | None = None
    adversarial_gradient_clip: PositiveFloat | None = None
    adaptive_weight: Bool = False
    inward_gradient: Bool = False
    discriminator_optimizer: OptimizerSettings = OptimizerSettings(name="adam", lr=2e-4, betas=(0.5, 0.999))
    discriminator_steps: PositiveInt = 1
    label_smoothing: Share = 0.1
    gradient_penalty: PositiveFloat | None = None
    max_sample_magnitude: Annotated[Float, Field(gt=0.5)] | None = None
    ema_decay: Fraction | None = None
    augmentation: AugmentationSettings = AugmentationSettings()
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpointing: Bool = False
    compile: Bool = False
    images_on: Literal["device", "host"] = "device"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: PositiveInt = 1
    threads: PositiveInt = 1
    log_every: PositiveInt = 50
    grid_every: PositiveInt = 5000
    resume_every_minutes: PositiveFloat = 30.0

    @model_validator(mode="after")
    def _equal_shares(self) -> TrainingSettings:
        if self.batch_size % self.devices:
            raise ValueError(
                f"batch_size must be a multiple of devices, so that each gets equally many images: {self.batch_size} "
                f"is not one of {self.devices}"
            )
        if self.devices > 1 and self.gradient_penalty is not None:
            raise ValueError(
                "gradient_penalty needs second derivatives, which BatchNorm over several devices does not have; set "
                "devices to 1 or gradient_penalty to null"
            )
        return self


class SamplingSettings(Section):
    """The images that are drawn from every trained model."""

    images: Annotated[Int, Field(ge=2)] = 50_000
    batch_size: PositiveInt = 250
    temperature: PositiveFloat = 1.0
    seed: Annotated[Int, Field(ge=0)] = 0
    repeats: PositiveInt = 1

    def one_set(self) -> dict[str, Any]:
        """What determines one set of images. How many sets there are does not: the first is always the same."""
        return self.model_dump(mode="json", exclude={"repeats"})


ROUNDING_ALONE = {"memory_gb"}
"""Fields of LikelihoodSettings that change the bounds' rounding and nothing else."""


class LikelihoodSettings(Section):
    """Bits per dimension on the test split, or on the training images that were held out."""

    split: Literal["test", "holdout"] = "test"
    images: Annotated[Int, Field(ge=2)] | None = None
    importance_samples: PositiveInt = 1000
    batch_size: PositiveInt = 250
    memory_gb: PositiveFloat | None = None
    seed: Annotated[Int, Field(ge=0)] = 0

    def what_is_measured(self) -> dict[str, Any]:
        """What determines the bounds. How many samples are computed at once changes their rounding alone."""
        return self.model_dump(mode="json", exclude=ROUNDING_ALONE)


class FidSettings(Section):
    """Frechet inception distance with pytorch-fid's network."""

    enabled: Bool = True
    weights: Text | None = None
    batch_size: PositiveInt = 50


class ClassifierSettings(Section):
    """The CIFAR-10 classifier in whose feature space FD-CIFAR is measured."""

    width: PositiveInt = 64
    epochs: PositiveFloat = 8.0
    batch_size: PositiveInt = 256
    lr: PositiveFloat = 0.6
    precision: Literal["fp32", "bf16"] = "bf16"
    seed: Annotated[Int, Field(ge=0)] = 0


class FdCifarSettings(Section):
    """Frechet distance in the feature space of a CIFAR-10 classifier. Not FID."""

    enabled: Bool = True
    batch_size: PositiveInt = 500
    classifier: ClassifierSettings = ClassifierSettings()


class EvaluationSettings(Section):
    """What is measured on every trained model."""

    likelihood: LikelihoodSettings = LikelihoodSettings()
    fid: FidSettings = FidSettings()
    fd_cifar: FdCifarSettings = FdCifarSettings()


class VariantEntry(Section):
    """One entry under ``variants``: a row of the table and a panel of the figure."""

    discriminator: Text | None = None
    adversarial_weight: Share = 0.0
    init_from: Text | None = None
    flow: dict[str, Any] = {}
    training: dict[str, Any] = {}


class Variant(Section):
    """A variant with every setting resolved."""

    name: Name
    discriminator_name: Text | None
    discriminator: DiscriminatorSettings | None
    adversarial_weight: Share
    init_from: Text | None
    flow: FlowSettings
    training: TrainingSettings


class Settings(Section):
    """The whole experiment."""

    experiment: Name
    small: Bool = False
    dataset: DatasetSettings = DatasetSettings()
    flow: FlowSettings = FlowSettings()
    discriminators: dict[Name, DiscriminatorSettings] = {}
    training: TrainingSettings = TrainingSettings()
    sampling: SamplingSettings = SamplingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    variants: Annotated[dict[Name, VariantEntry], Field(min_length=1)]
    seeds: Annotated[tuple[Annotated[Int, Field(ge=0)], ...], Field(min_length=1)] = (0,)

    @model_validator(mode="after")
    def _seeds_differ(self) -> Settings:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must differ from each other, got {list(self.seeds)}")
        return self

    @model_validator(mode="after")
    def _holdout_for_decisions(self) -> Settings:
        if self.evaluation.likelihood.split == "holdout" and self.dataset.holdout < 2:
            raise ValueError(
                "evaluation.likelihood.split is 'holdout', but dataset.holdout keeps no images back; set it to 2 or "
                "more"
            )
        return self

    @model_validator(mode="after")
    def _labels_for_the_classifier(self) -> Settings:
        if self.dataset.source == "folder" and self.evaluation.fd_cifar.enabled:
            raise ValueError(
                "evaluation.fd_cifar.enabled must be false when dataset.source is 'folder': its classifier is trained "
                "on CIFAR-10's labels"
            )
        return self

    def resolve(self, name: str) -> Variant:
        """The variant ``name`` with its overrides applied to the experiment's settings.

        Raises:
            UserError: an override is not valid.
        """
        entry = self.variants[name]
        where = f"variants.{name}"
        discriminator = None
        if entry.discriminator is not None:
            if entry.discriminator not in self.discriminators:
                raise UserError(
                    f"config: `{where}.discriminator` is {_shown(entry.discriminator)}, which is not defined under "
                    f"`discriminators`{_hint(entry.discriminator, self.discriminators)}."
                )
            discriminator = self.discriminators[entry.discriminator]
        return Variant(
            name=name,
            discriminator_name=entry.discriminator,
            discriminator=discriminator,
            adversarial_weight=entry.adversarial_weight,
            init_from=entry.init_from,
            flow=_override(self.flow, entry.flow, f"{where}.flow"),
            training=_override(self.training, entry.training, f"{where}.training"),
        )

    def _place(self, name: str) -> tuple[float, str, int, str]:
        """Sorts variants: by weight, then discriminator, then how many others they start from, then name."""
        ancestors, current = 0, self.variants[name].init_from
        while current is not None:
            ancestors, current = ancestors + 1, self.variants[current].init_from
        entry = self.variants[name]
        return entry.adversarial_weight, entry.discriminator or "", ancestors, name

    def _check_variants(self) -> None:
        for name, entry in self.variants.items():
            where = f"variants.{name}"
            variant = self.resolve(name)
            if entry.discriminator is None and entry.adversarial_weight > 0:
                raise UserError(
                    f"config: `{where}` has adversarial_weight {entry.adversarial_weight:g} but no discriminator; "
                    "name one, or set the weight to 0."
                )
            if entry.discriminator is not None and entry.adversarial_weight == 0:
                raise UserError(
                    f"config: `{where}` has discriminator {entry.discriminator!r} but adversarial_weight 0; "
                    "give it a weight above 0, or remove the discriminator."
                )
            if entry.adversarial_weight == 1 and variant.training.adaptive_weight:
                raise UserError(
                    f"config: `{where}` has adversarial_weight 1, so there is no likelihood gradient for "
                    "training.adaptive_weight to measure the other by; set it to false there, or lower the weight."
                )
            if entry.init_from is not None:
                if entry.init_from not in self.variants:
                    raise UserError(
                        f"config: `{where}.init_from` is {_shown(entry.init_from)}, which is not a variant"
                        f"{_hint(entry.init_from, self.variants)}."
                    )
                if self.resolve(entry.init_from).flow != variant.flow:
                    raise UserError(
                        f"config: `{where}.flow` differs from that of `init_from: {entry.init_from}`; "
                        "a variant can start only from a checkpoint of the same architecture."
                    )
            self._check_acyclic(name)

    def _check_acyclic(self, name: str) -> None:
        seen, current = [name], self.variants[name].init_from
        while current is not None and current in self.variants:
            if current in seen:
                raise UserError(f"config: `variants.{name}.init_from` leads back to {current!r}; remove the circle.")
            seen.append(current)
            current = self.variants[current].init_from


def parse_settings(config: dict[str, Any]) -> Settings:
    """Validates a merged configuration mapping.

    A variant that is set to ``null`` is left out, so that a preset can drop one of the base file's. Variants
    are put into the table's order, by :meth:`Settings._place`: merging files does not keep any.

    Raises:
        UserError: names the first thing that is wrong.
    """
    if not isinstance(config, dict):
        raise UserError(f"config: it is {_shown(config)}, but it must be a mapping of settings.")
    config = dict(config)
    if isinstance(config.get("variants"), dict):
        config["variants"] = {name: entry for name, entry in config["variants"].items() if entry is not None}
    settings = _validate(Settings, config, "")
    settings._check_variants()
    ordered = sorted(settings.variants, key=settings._place)
    return settings.model_copy(update={"variants": {name: settings.variants[name] for name in ordered}})


def load_settings(*paths: str | Path) -> Settings:
    """Reads YAML files, later ones over earlier ones, as ``snakemake --configfile`` does.

    Raises:
        UserError: a file cannot be read or is not valid.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"config: cannot read {path}: {error.strerror}.") from None
        except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, no date, a number of 5000 digits
            reason = _plain(" ".join(str(error).split()), 500)
            raise UserError(f"config: {path} is not valid YAML: {reason}.") from None
        except RecursionError:
            raise UserError(f"config: {path} is nested too deeply; a configuration has at most six levels.") from None
        if not isinstance(content, dict):
            raise UserError(f"config: {path} must hold a mapping of settings.")
        merged = _merge(merged, content)
    return parse_settings(merged)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _override(base: S, changes: dict[str, Any], where: str) -> S:
    return _validate(type(base), _merge(base.model_dump(), changes), where) if changes else base


def _validate(model: type[S], values: Any, where: str) -> S:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A list with a wrong entry also counts as too short; the entry alone is the problem.
        inside = {problem["loc"][:depth] for problem in found for depth in range(len(problem["loc"]))}
        problems = [problem for problem in found if problem["loc"] not in inside]
        more = f" ({len(problems) - 1} more after this one)" if len(problems) > 1 else ""
        raise UserError(f"config: {_sentence(model, problems[0], where)}{more}.") from None


def _sentence(model: type[Section], problem: Any, where: str) -> str:
    """One validation problem in words; ``loc`` is the path of keys pydantic followed."""
    path = [str(part) for part in problem["loc"] if not str(part).startswith(("function-", "constrained-"))]
    path = [part for part in path if part != "[key]"]
    key = ".".join([*([where] if where else []), *map(_plain, path)])
    value = problem["input"]
    if problem["type"] == "extra_forbidden":
        names = _known_keys(model, path[:-1])
        return f"`{key}` is not a setting{_hint(path[-1], names)}"
    if problem["type"] == "missing":
        return f"`{key}` is missing"
    if problem["type"] == "value_error" and isinstance(value, dict):  # a rule about several settings of one section
        message = str(problem["ctx"]["error"])
        return f"`{key}`: {message}" if key else message
    return f"`{key}` is {_shown(value)}, but it {_requirement(problem)}"


# What pydantic's types of problems mean to someone who writes YAML.
_REQUIREMENTS = {
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "int_type": "must be a whole number",
    "invalid_key": "must be text",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "model_type": "must be a mapping of settings",
    "string_pattern_mismatch": "must start with a letter or digit and hold only letters, digits, '.', '_' and '-' "
    "(64 at most)",
    "string_type": "must be text",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entry",
    "tuple_type": "must be a list",
    "value_error": "{error}",
}


def _requirement(problem: Any) -> str:
    """What a value must be, in words that follow "but it"."""
    context = problem.get("ctx", {})
    if problem["type"] == "literal_error":
        allowed = typing.cast(str, context["expected"])
        names = [name.strip("'") for name in allowed.replace(" or ", ", ").split(", ")]
        guess = difflib.get_close_matches(str(problem["input"]), names)
        return f"must be {allowed}" + (f" (did you mean '{guess[0]}'?)" if guess else "")
    if problem["type"] in _REQUIREMENTS:
        return _REQUIREMENTS[problem["type"]].format(**context)
    message = problem["msg"].removeprefix("Input ").replace("should be", "must be")
    return message[0].lower() + message[1:]


def _plain(text: str, limit: int = 70) -> str:
    """Text on one line, shortened: what a terminal would not print is written as an escape sequence."""
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _shown(value: Any) -> str:
    """A value as it stands in YAML, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of many digits, or lists in lists in lists
        text = "something very long" if isinstance(value, int) else "something nested very deeply"
    return text if len(text) <= 60 else text[:57] + "..."


def _known_keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """The setting names of the section at ``path``."""
    current: Any = model
    for part in path:
        if isinstance(current, type) and issubclass(current, BaseModel):
            current = current.model_fields[part].annotation
        else:
            current = typing.get_args(current)[1]  # dict[name, section]
        while typing.get_origin(current) in (Annotated, types.UnionType):
            current = typing.get_args(current)[0]
    return list(current.model_fields)


def _hint(wrong: str, names: typing.Iterable[str]) -> str:
    names = [str(name) for name in names]
    close = difflib.get_close_matches(wrong, names, n=1)
    guess = f"; did you mean `{close[0]}`?" if close else ""
    known = f" (known: {', '.join(names)})" if names else " (none is defined)"
    return f"{guess}{known}"


def json_schema() -> dict[str, Any]:
    """JSON schema of a configuration file, for editors.

    A file may be laid over another one, so nothing is required; an entry of ``variants`` may be null.
    ``python -m hybridflow.config.experiment > workflow/schemas/config.schema.json`` writes it.
    """
    schema = Settings.model_json_schema()
    for section in (schema, *schema["$defs"].values()):
        section.pop("required", None)
    entry = schema["$defs"]["VariantEntry"]["properties"]
    for key, section in (("flow", "FlowSettings"), ("training", "TrainingSettings")):
        entry[key] = {"$ref": f"#/$defs/{section}"}
    variants = schema["properties"]["variants"]
    variants["patternProperties"] = {
        pattern: {"anyOf": [value, {"type": "null"}]} for pattern, value in variants["patternProperties"].items()
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_with_bounds(schema)}


def _with_bounds(schema: Any) -> Any:
    """Bounds of numbers under the names JSON schema has for them: pydantic keeps its own where a validator precedes."""
    names = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
    if isinstance(schema, dict):
        return {names.get(key, key): _with_bounds(value) for key, value in schema.items()}
    return [_with_bounds(value) for value in schema] if isinstance(schema, list) else schema


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
