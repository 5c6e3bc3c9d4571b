"""Fetches the weights of pytorch-fid's Inception network."""

from pathlib import Path

from hybridflow.job import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.metrics.inception import fetch_inception_weights

    fetch_inception_weights(settings.evaluation.fid, Path(snakemake.output.weights))
