"""Where everything about one trained model is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """The files of one model of an experiment.

    Attributes:
        results: ``results/<experiment>``.
        variant, seed: which model; the workflow's rules put their wildcards here.
    """

    results: str | Path
    variant: str
    seed: int | str

    @property
    def name(self) -> str:
        """Of the model, as records of all models say it."""
        return f"{self.variant}/seed{self.seed}"

    @property
    def folder(self) -> str:
        return f"{self.results}/{self.name}"

    def at(self, temperature: str) -> RunFolder:
        """The same for samples at another temperature: of these files it has those of samples and metrics."""
        return RunFolder(self.results, self.variant, f"{self.seed}/temperature-{temperature}")

    @property
    def checkpoint(self) -> str:
        """The weights."""
        return f"{self.folder}/checkpoint.safetensors"

    @property
    def history(self) -> str:
        """The training's metrics, one line per logged step."""
        return f"{self.folder}/training.jsonl"

    @property
    def checkpoint_record(self) -> str:
        """What weights and history are."""
        return f"{self.folder}/checkpoint.json"

    @property
    def likelihood(self) -> str:
        """Bits per dimension: the record of :attr:`bounds`."""
        return f"{self.folder}/likelihood.json"

    @property
    def bounds(self) -> str:
        """Both bounds of every image, (N, 2) nats."""
        return f"{self.folder}/likelihood.npy"

    @property
    def fidelity(self) -> str:
        """Every metric on features of the samples."""
        return f"{self.folder}/fidelity.json"

    @property
    def contributions(self) -> str:
        """What single images add to every metric, arrays by name; :attr:`fidelity` is its record."""
        return f"{self.folder}/contributions.npz"

    @property
    def samples(self) -> str:
        """The generated images, uint8 (N, 3, H, W)."""
        return f"{self.folder}/samples.npy"

    @property
    def samples_record(self) -> str:
        """How they were drawn."""
        return f"{self.folder}/samples.json"

    def features(self, extractor: str) -> str:
        """What the samples' features amount to."""
        return f"{self.folder}/features/{extractor}.npz"

    def vectors(self, extractor: str) -> str:
        """The features of the first samples."""
        return f"{self.folder}/features/{extractor}.npy"

    def features_record(self, extractor: str) -> str:
        """What the features were computed from."""
        return f"{self.folder}/features/{extractor}.json"
