"""Fetches the dataset and writes its arrays."""

from pathlib import Path

from hybridflow.data.prepare import prepare_dataset
from hybridflow.job import workflow_job

with workflow_job(snakemake) as settings:
    prepare_dataset(settings.dataset, Path(snakemake.output.manifest).parent, Path(snakemake.params.cache))
