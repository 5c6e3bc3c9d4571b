"""The works that whoever uses a result is asked to cite."""

from __future__ import annotations

from hybridflow import __version__

WORKS = (
    f"hybridflow {__version__}: a pipeline for adversarially regularised normalizing flows (CITATION.cff).",
    "Grcić, Grubišić, Šegvić: Densely connected normalizing flows. NeurIPS 2021, arXiv 2106.04627.",
    "The master's thesis whose experiment this runs (FER Zagreb, 2022).",
    "Krizhevsky: Learning multiple layers of features from tiny images. 2009 (CIFAR-10).",
)
