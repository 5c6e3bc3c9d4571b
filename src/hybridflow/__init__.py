"""Adversarially regularised normalizing flows: the package behind the Snakemake pipeline.

Submodules are imported on demand; importing the package itself costs nothing.
"""

import os

# With AMX, oneDNN's bfloat16 kernels of torch 2.14.1 now and then return NaN in networks of few channels. It reads this
# when torch first computes; what a user sets stays.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")

__version__ = "0.1.0"
