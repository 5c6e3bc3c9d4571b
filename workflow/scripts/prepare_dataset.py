"""Fetches the dataset and writes its arrays."""

from pathlib import Path

from hybridflow.data.prepare import is_prepared, prepare_dataset
from hybridflow.jobs import workflow_job

directory = Path(snakemake.output.manifest).parent

with workflow_job(snakemake, lock=directory.with_name(f".{directory.name}.lock")) as settings:
    if not is_prepared(directory):  # by another experiment, while this one waited; its trainings may read them now
        prepare_dataset(settings.dataset, directory, Path(snakemake.params.cache))
