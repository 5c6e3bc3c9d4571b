"""The results folder of an experiment whose numbers are made up: every record that the report reads."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from recorded import edit
from torch import nn

from hybridflow.config.experiment import Settings
from hybridflow.config.metrics import METRICS
from hybridflow.evaluation.likelihood import summarise
from hybridflow.io.records import write_record
from hybridflow.io.run_folder import RunFolder
from hybridflow.models.checkpoint import save_checkpoint
from hybridflow.models.discriminators.registry import build_discriminator
from hybridflow.models.generators.registry import build_generator
from hybridflow.report.results import Results, read_results
from hybridflow.store.keys import training_key

DATASET = "cifar10-0123456789abcdef"
DIMENSIONS = 3 * 32 * 32
BPD = {"baseline": 4.0, "control": 3.99, "dcgan-0.5": 4.25}  # importance-weighted; the ELBO is 0.1 above
CLASS_COUNTS = [22, 2, 2, 2, 2, 2, 2, 2, 2, 2]  # of 40 images


class Experiment:
    """Records of every model of ``settings``, in ``folder``. Its numbers rise with the seed.

    A metric is 40 at the first variant, 1 more at each further one and 2 more at each further seed.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.difficulty = np.random.default_rng(0).normal(0, 0.7, size=(30, 1))
        for name, seed in settings.models:
            self.write(name, seed)

    def files(self, name: str = "baseline", seed: int = 0) -> RunFolder:
        return RunFolder(self.folder, name, seed)

    def write(self, name: str, seed: int) -> None:
        files, variant = self.files(name, seed), self.settings.variants[name]
        files_key = {"checkpoint": training_key(self.settings, name, seed, DATASET), "revision": "a" * 40}
        Path(files.folder).mkdir(parents=True)
        likelihood, sampling = self.settings.evaluation.likelihood, self.settings.sampling
        if variant.generator.has_likelihood:
            own = 0.001 * np.random.default_rng(len(name)).normal(size=(30, 2))
            bpd = BPD[name] + 0.1 * seed + np.array([0.1, 0.0]) + self.difficulty + own
            bounds = -bpd * DIMENSIONS * math.log(2)
            np.save(files.bounds, bounds)
            asked = {part: getattr(likelihood, part) for part in ("split", "importance_samples", "seed")}
            values = files_key | asked | {"version": 1} | vars(summarise(bounds, DIMENSIONS))
            write_record(files.likelihood, values, [files.bounds])
        metrics = {}
        for number, metric in enumerate(METRICS[chosen] for chosen in self.settings.evaluation.metrics):
            value = 40.0 + 100 * number + list(self.settings.variants).index(name) + 2 * seed
            metrics[metric.name] = {"value": value, "se": 0.5 + number, "version": 1}
        # Images differ by far more than models do, as real ones do.
        own = np.random.default_rng(len(name)).normal(size=30)
        parts = {part: entry["value"] + self.difficulty[:, 0] + 0.001 * own for part, entry in metrics.items()}
        np.savez(files.contributions, **parts)
        extractors = self.settings.evaluation.needed_extractors
        counted = "cifar_classifier" in extractors
        fidelity = {
            "images": sampling.images,
            "sampling": sampling.identity(),
            "reference_images": {"train": 64, "test": 60},
            "feature_images": {"train": 20, "samples": 10},
            "weights_sha256": dict.fromkeys(extractors, "ab" * 32),
            "extractors": {part: {"accuracy": {"test": 0.912}} for part in extractors if part == "cifar_classifier"},
            "metrics": metrics,
            "class_counts": CLASS_COUNTS if counted else None,
        }
        write_record(files.fidelity, files_key | fidelity, [files.contributions])
        write_record(files.samples_record, files_key)

    def calibrate(self, extractor: str = "cifar_classifier") -> None:
        chosen = [METRICS[name] for name in self.settings.evaluation.metrics]
        names = [one.name for one in chosen if (one.extractor, one.reference) == (extractor, "train")]
        rows = [
            {"kind": kind, "strength": strength, "images": images, "count": count, "reference_count": reference}
            | dict.fromkeys(names, value)
            for kind, strength, images, count, reference, value in (
                ("clean", None, "test images", 40, 64, 1.25),
                ("clean", None, "test images", 60, 64, 0.5),
                ("halves", None, "half against half", 30, 30, 0.75),
                ("noise", 5, "noisy images", 40, 64, 2.5),
                ("noise", 25, "noisier images", 40, 64, 5.0),
                ("jpeg", 15, "compressed images", 40, 64, 2.0),
            )
        ]
        (self.folder / "reference").mkdir(exist_ok=True)
        write_record(self.folder / "reference" / f"calibration-{extractor}.json", {"rows": rows})

    def train(self) -> None:
        """Adds a checkpoint of random weights to every model, trained for 5 steps and 10 s."""
        for name, seed in self.settings.models:
            files, variant = self.files(name, seed), self.settings.variants[name]
            models: dict[str, nn.Module] = {"flow": build_generator(variant.generator)}
            metadata = {"flow": variant.generator.model_dump(mode="json"), "discriminator": None}
            if variant.discriminator is not None:
                models["discriminator"] = build_discriminator(variant.discriminator)
                metadata["discriminator"] = variant.discriminator.model_dump(mode="json")
            rows = [{"step": step, "images": 16 * step, "seconds": 2.0 * step} for step in (2, 4, 5)]
            Path(files.history).write_text("".join(json.dumps(row) + "\n" for row in rows))
            metadata |= {"key": training_key(self.settings, name, seed, DATASET), "steps": 5, "images": 80}
            save_checkpoint(Path(files.checkpoint), models, metadata | {"device": "cpu"}, [Path(files.history)])

    def change(self, record: str, name: str = "baseline", seed: int = 0, /, **values: object) -> None:
        """Changes values of ``likelihood`` or ``fidelity``; ``...`` removes one."""
        edit(Path(getattr(self.files(name, seed), record)), **values)

    def read(self) -> Results:
        return read_results(self.folder, self.settings, DATASET)
