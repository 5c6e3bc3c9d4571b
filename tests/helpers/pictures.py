"""64 training images of CIFAR-10, uint8 (64, 3, 32, 32), and their labels."""

from pathlib import Path

import numpy as np

with np.load(Path(__file__).parents[1] / "data" / "cifar10_64.npz") as _file:
    IMAGES, LABELS = _file["images"], _file["labels"].astype(np.int64)
