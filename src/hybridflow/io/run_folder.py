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
    def folder(self) -> str:
        return f"{self.results}/{self.variant}/seed{self.seed}"

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

    def samples_folder(self, repeat: int | str = 0) -> str:
        """Where a set of samples is; set 0 is the one that figures show, further ones serve metrics alone."""
        return self.folder if repeat == 0 else f"{self.folder}/repeats/{repeat}"

    def samples(self, repeat: int | str = 0) -> str:
        """A set of images, uint8 (N, 3, H, W)."""
        return f"{self.samples_folder(repeat)}/samples.npy"

    def samples_record(self, repeat: int | str = 0) -> str:
        """How a set of images was drawn."""
        return f"{self.samples_folder(repeat)}/samples.json"

    def features(self, extractor: str, repeat: int | str = 0) -> str:
        """What a set's features amount to."""
        return f"{self.samples_folder(repeat)}/features/{extractor}.npz"

    def vectors(self, extractor: str, repeat: int | str = 0) -> str:
        """The features of a set's first images."""
        return f"{self.samples_folder(repeat)}/features/{extractor}.npy"

    def features_record(self, extractor: str, repeat: int | str = 0) -> str:
        """What the features were computed from."""
        return f"{self.samples_folder(repeat)}/features/{extractor}.json"
