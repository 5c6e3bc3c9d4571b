"""Measures bits/dim of a checkpoint on the test split, or on the held-out training images."""

from dataclasses import asdict
from pathlib import Path

from hybridflow.io.records import write_record
from hybridflow.jobs import torch_job

with torch_job(snakemake, snakemake.params.device) as (settings, device):
    from hybridflow.config.evaluation import LIKELIHOOD_VERSION
    from hybridflow.data.images import load_images, split_holdout
    from hybridflow.evaluation.likelihood import evaluate_likelihood, round_trip_error
    from hybridflow.models.checkpoint import load_recorded
    from hybridflow.models.generators.base import Flow
    from hybridflow.runtime.revision import code_revision

    likelihood = settings.evaluation.likelihood
    variant, seed = snakemake.wildcards.variant, int(snakemake.wildcards.seed)
    checkpoint, bounds = Path(snakemake.input.checkpoint), Path(snakemake.output.bounds)
    model, metadata = load_recorded(checkpoint, variant, seed, device)
    images = load_images(snakemake.input.images)
    if likelihood.split == "holdout":
        _, images = split_holdout(images, settings.dataset.holdout)
    # Only a flow has an inverse
    round_trip = round_trip_error(model, images, likelihood, checkpoint) if isinstance(model, Flow) else None
    label = f"likelihood {variant} seed {seed}"
    measured = evaluate_likelihood(model, images, likelihood, bounds, device, metadata["key"], label)
    summary = {
        "checkpoint": metadata["key"],
        "split": likelihood.split,
        "importance_samples": likelihood.importance_samples,
        "seed": likelihood.seed,
        "version": LIKELIHOOD_VERSION,
        "revision": code_revision(),
        "round_trip_levels": round_trip,
    }
    write_record(snakemake.output.summary, summary | asdict(measured), [bounds])
