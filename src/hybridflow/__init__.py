"""Adversarially regularised normalizing flows: the package behind the Snakemake pipeline.

Submodules are imported on demand; importing the package itself costs nothing.
"""

__version__ = "0.1.0"
