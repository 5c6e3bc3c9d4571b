"""The whole experiment: what a configuration file says, and the same with every variant resolved."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, SerializeAsAny, model_validator

from hybridflow.config.adversarial import AdversarialSettings, DiscriminatorSettings
from hybridflow.config.data import DatasetSettings
from hybridflow.config.evaluation import EvaluationSettings, SamplingSettings
from hybridflow.config.fields import Bool, Float, Name, NonNegativeInt, Section, Share, Text
from hybridflow.config.generators import GeneratorSettings
from hybridflow.config.training import TrainingSettings

Seeds = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)]


class ReferenceSettings(Section):
    """What others report for a variant; shown beside our numbers, and compared with nothing."""

    bpd: Float | None = Field(None, description="bits per dimension")
    fid: Float | None = Field(None, description="FID")
    source: Text = Field("", description="who reports it, and where")


class VariantEntry(Section):
    """One entry under ``variants``: a row of the table and a panel of the figure."""

    discriminator: Text | None = Field(None, description="a name under `discriminators`, or null for none")
    adversarial_weight: Share = Field(0.0, description="the factor: 0 likelihood only, 1 adversarial only")
    init_from: Text | None = Field(None, description="start from the weights of this variant, or null for from scratch")
    generator: dict[str, Any] = Field({}, description="whatever differs from `generator`")
    adversarial: dict[str, Any] = Field({}, description="whatever differs from `adversarial`")
    training: dict[str, Any] = Field({}, description="whatever differs from `training`")
    reference: ReferenceSettings | None = Field(None, description="what others report for this variant")


class SweepEntry(Section):
    """One entry under ``sweep``: a variant for every combination of the values under ``over``."""

    name: Text = Field(description="of every variant, with settings in braces: dcgan-{adversarial_weight:g}")
    variant: dict[str, Any] = Field({}, description="what these variants share; `init_from` may have braces, too")
    over: Annotated[dict[Text, Annotated[tuple[Any, ...], Field(min_length=1)]], Field(min_length=1)] = Field(
        description="values by setting of a variant, such as adversarial_weight or training.optimizer.lr"
    )


class EvaluationEntry(EvaluationSettings):
    """What is measured on every trained model."""

    extractors: dict[str, dict[str, Any]] = Field({}, description="settings of the feature extractors, by name")


class ExperimentFile(Section):
    """A configuration as it is written. What a registry's name decides is validated when variants are resolved."""

    experiment: Name = Field(description="results go to results/<experiment>")
    small: Bool = Field(False, description="a scaled-down experiment: a note under the table says so")
    extensions: tuple[Text, ...] = Field((), description="Python files that register generators, losses, metrics, ...")
    dataset: DatasetSettings = Field(DatasetSettings(), description="where the images come from")
    generator: dict[str, Any] = Field({}, description="the model of every variant; a variant may override any of it")
    discriminators: dict[Name, dict[str, Any] | None] = Field({}, description="a variant names one of these")
    adversarial: dict[str, Any] = Field({}, description="the adversarial term; a variant may override any of it")
    training: TrainingSettings = Field(
        TrainingSettings(), description="for every variant, which may override any of it"
    )
    sampling: SamplingSettings = Field(SamplingSettings(), description="images drawn from every trained model")
    evaluation: EvaluationEntry = Field(EvaluationEntry(), description="what is measured on every trained model")
    variants: Annotated[dict[Name, VariantEntry | None], Field(min_length=1)] = Field(
        description="one entry is one row of the table and one panel of the figure"
    )
    sweep: dict[Name, SweepEntry | None] = Field({}, description="further variants, by lists of values")
    seeds: Seeds = Field((0,), description="every variant is trained once per seed; the table shows mean and deviation")

    @model_validator(mode="after")
    def _seeds_differ(self) -> ExperimentFile:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must differ from each other, got {list(self.seeds)}")
        return self


class Variant(Section):
    """A variant with every setting resolved."""

    name: Name
    discriminator_name: Text | None
    discriminator: SerializeAsAny[DiscriminatorSettings] | None
    adversarial_weight: Share
    init_from: Text | None
    generator: SerializeAsAny[GeneratorSettings]
    adversarial: SerializeAsAny[AdversarialSettings]
    training: TrainingSettings
    reference: ReferenceSettings | None = None


class Settings(Section):
    """The whole experiment with every variant resolved, variants in the order of the table."""

    experiment: Name
    small: Bool
    extensions: tuple[Text, ...]
    dataset: DatasetSettings
    training: TrainingSettings
    sampling: SamplingSettings
    evaluation: EvaluationSettings
    variants: dict[Name, Variant]
    seeds: Seeds

    @property
    def models(self) -> list[tuple[str, int]]:
        """(variant, seed) of everything that is trained, in the order of the table."""
        return [(name, seed) for name in self.variants for seed in self.seeds]

    @property
    def further_temperatures(self) -> list[str]:
        """Temperatures of the evaluation that are not the samples' own, rising; as folders and files write them."""
        chosen = sorted(set(self.evaluation.temperatures))
        own = f"{self.sampling.temperature:g}"
        return [name for name in dict.fromkeys(f"{value:g}" for value in chosen) if name != own]
