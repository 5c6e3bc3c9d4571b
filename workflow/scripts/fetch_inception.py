"""Fetches the weights of pytorch-fid's Inception network."""

from pathlib import Path

from hybridflow.jobs import workflow_job

weights = Path(snakemake.output.weights)

with workflow_job(snakemake, lock=weights.with_name(f".{weights.name}.lock")) as settings:
    from hybridflow.evaluation.extractors.inception import fetch_inception_weights

    fetch_inception_weights(settings.evaluation.extractors["inception"], weights)
