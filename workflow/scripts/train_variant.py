"""Trains a variant unless the store holds its weights, and puts them where the workflow expects them."""

import sys
from pathlib import Path

from hybridflow.io.records import copy_result, read_record, record_of
from hybridflow.jobs import several_devices, workflow_job
from hybridflow.store.entries import claim, variant_entry
from hybridflow.training.resume import ResumeState

variant, seed = snakemake.wildcards.variant, int(snakemake.wildcards.seed)

with workflow_job(snakemake) as settings:
    entry = variant_entry(settings, variant, seed, snakemake.params.dataset)
    with claim(entry):
        if entry.stored:
            print(f"{entry.name}: found in the store under {entry.key}", file=sys.stderr)
        else:
            from hybridflow.training.processes import train_on
            from hybridflow.training.sample_distance import Ruler
            from hybridflow.training.state import Job

            parent = settings.variants[variant].init_from
            if parent is not None:
                parent_key = variant_entry(settings, parent, seed, snakemake.params.dataset).key
                read_record(record_of(snakemake.input.parent), key=parent_key)
            entry.record.unlink(missing_ok=True)  # it must not speak for files that are written now
            ruler = None
            if snakemake.input.ruler:
                weights, weights_record, moments, _ = map(Path, snakemake.input.ruler)
                read_record(weights_record, [weights.name])
                ruler = Ruler(settings, weights, moments)
            job = Job(
                variant=settings.variants[variant],
                seed=seed,
                key=entry.key,
                parent=Path(snakemake.input.parent) if snakemake.input.parent else None,
                checkpoint=entry.file(".safetensors"),
                history=entry.file(".jsonl"),
                resume=entry.file(".resume"),
                monitor=Path(snakemake.output.checkpoint).parent,
                dataset_hash=snakemake.params.dataset,
                ruler=ruler,
            )
            with several_devices(snakemake, job.variant.training.device, job.variant.training.devices) as (
                devices,
                threads,
            ):
                train_on(
                    job, Path(snakemake.input.images), settings.dataset.holdout, devices, threads, settings.extensions
                )
        read_record(entry.record, key=entry.key)
        ResumeState(entry.file(".resume"), entry.key).remove()
    names = (snakemake.output.checkpoint, snakemake.output.history)
    copy_result(
        entry.record,
        snakemake.output.record,
        {entry.file(suffix).name: Path(name).name for suffix, name in zip(entry.suffixes, names, strict=True)},
        key=entry.key,
    )
