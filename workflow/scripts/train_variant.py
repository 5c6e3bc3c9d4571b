"""Trains a variant unless the store holds its weights, and puts them where the workflow expects them."""

import sys
from pathlib import Path

from hybridflow.files import place
from hybridflow.job import several_devices, workflow_job
from hybridflow.store import claim, variant_entry

variant, seed = snakemake.wildcards.variant, int(snakemake.wildcards.seed)

with (
    workflow_job(snakemake) as settings,
    several_devices(snakemake, snakemake.params.device, settings.resolve(variant).training.devices) as (
        devices,
        threads,
    ),
):
    from hybridflow.checkpoint import check_key
    from hybridflow.launch import train_on
    from hybridflow.train import Job

    entry = variant_entry(settings, variant, seed, snakemake.params.dataset)
    with claim(entry):
        if entry.stored:
            print(f"{entry.name}: found in the store under {entry.key}", file=sys.stderr)
        else:
            job = Job(
                variant=settings.resolve(variant),
                seed=seed,
                key=entry.key,
                parent=Path(snakemake.input.parent) if snakemake.input.parent else None,
                checkpoint=entry.file(".safetensors"),
                history=entry.file(".jsonl"),
                resume=entry.file(".resume"),
                monitor=Path(snakemake.output.checkpoint).parent,
                dataset_hash=snakemake.params.dataset,
            )
            train_on(job, Path(snakemake.input.images), settings.dataset.holdout, devices, threads)
        entry.file(".resume").unlink(missing_ok=True)
    check_key(entry.file(".safetensors"), entry.key)
    place(entry.file(".safetensors"), snakemake.output.checkpoint)
    place(entry.file(".jsonl"), snakemake.output.history)
