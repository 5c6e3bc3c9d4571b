"""Seconds that every feature extractor takes for 5,000 CIFAR-10-sized images on one core.

    python benchmarks/extractors.py [--batches 4]

The images are noise, and the weights of the classifier and of Inception are random ones of the same layout: time
depends on neither. It is the CPU time of this process, so that other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hybridflow.config.extractors import EXTRACTORS
from hybridflow.evaluation.extractors.cifar_classifier import ClassifierExtractor
from hybridflow.evaluation.extractors.cifar_network import CifarClassifier
from hybridflow.evaluation.extractors.efficientnet import load_efficientnet, packaged_weights
from hybridflow.evaluation.extractors.inception import load_inception

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
from standin import write_random_inception

IMAGES = 5_000


def random_inception() -> Callable[[Tensor], Tensor]:
    """Inception with random weights."""
    with tempfile.TemporaryDirectory() as folder:
        write_random_inception(Path(folder) / "random.pth")
        return load_inception(Path(folder) / "random.pth", "cpu")


BUILDERS = {
    "cifar_classifier": lambda: ClassifierExtractor(CifarClassifier(64), "cpu"),
    "efficientnet_lite0": lambda: load_efficientnet(packaged_weights(), "cpu"),
    "inception": random_inception,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=4, help="measured batches; the median counts")
    batches = parser.parse_args().batches
    torch.set_num_threads(1)
    print(f"| extractor | batch | seconds for {IMAGES:,} images |", "|---|--:|--:|", sep="\n")
    for name, build in BUILDERS.items():
        extractor, size = build(), EXTRACTORS[name].settings().batch_size
        images = torch.randint(256, (size, 3, 32, 32), dtype=torch.uint8)
        extractor(images)
        seconds = []
        for _ in range(batches):
            start = time.process_time()
            extractor(images)
            seconds.append(time.process_time() - start)
        print(f"| {name} | {size} | {statistics.median(seconds) * IMAGES / size:.1f} |", flush=True)


if __name__ == "__main__":
    main()
