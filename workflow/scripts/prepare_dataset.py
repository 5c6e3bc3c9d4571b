"""Fetches the dataset and writes its arrays."""

from pathlib import Path

from hybridflow.data.prepare import prepare_dataset
from hybridflow.jobs import workflow_job

directory = Path(snakemake.output.manifest).parent

with workflow_job(snakemake, lock=directory.with_name(f".{directory.name}.lock")) as settings:
    prepare_dataset(settings.dataset, directory, Path(snakemake.params.cache))
