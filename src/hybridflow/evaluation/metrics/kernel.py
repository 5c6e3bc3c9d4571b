"""Kernel distance (KID, arXiv 1801.01401), as torch-fidelity computes it."""

from __future__ import annotations

import numpy as np
import torch
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

from hybridflow.evaluation.metrics.features import Features

SUBSET = 1000


def kernel_distance(generated: Features, reference: Features) -> float:
    """Mean over 100 subsets of the unbiased squared MMD with the kernel (x·y / D + 1)^3; float64.

    Subsets have 1,000 images, or all of the smaller set if that has fewer. Unbiased: about 0 for equal distributions,
    and then negative about as often as positive.
    """
    a, b = (torch.from_numpy(x.vectors.astype(np.float64)) for x in (generated, reference))
    size = min(SUBSET, len(a), len(b))
    return kid_features_to_metric(a, b, kid_subsets=100, kid_subset_size=size, verbose=False)[KEY_METRIC_KID_MEAN]
