"""Measures bits/dim of a checkpoint on the test split, or on the held-out training images."""

from dataclasses import asdict
from pathlib import Path

from hybridflow.io.files import write_note
from hybridflow.jobs import torch_job

with torch_job(snakemake, snakemake.params.device) as (settings, device):
    from hybridflow.data.images import load_images, split_holdout
    from hybridflow.evaluation.likelihood import evaluate_likelihood, round_trip_error
    from hybridflow.models.checkpoint import check_model, load_flow

    likelihood = settings.evaluation.likelihood
    check_model(Path(snakemake.input.checkpoint), snakemake.wildcards.variant, int(snakemake.wildcards.seed))
    flow, metadata = load_flow(Path(snakemake.input.checkpoint), device)
    images = load_images(snakemake.input.images)
    if likelihood.split == "holdout":
        _, images = split_holdout(images, settings.dataset.holdout)
    label = f"likelihood {snakemake.wildcards.variant} seed {snakemake.wildcards.seed}"
    round_trip = round_trip_error(flow, images, likelihood, Path(snakemake.input.checkpoint))
    measured = evaluate_likelihood(
        flow,
        images,
        likelihood,
        Path(snakemake.output.bounds),
        device,
        metadata["key"],
        label,
    )
    summary = {
        "checkpoint": metadata["key"],
        "split": likelihood.split,
        "importance_samples": likelihood.importance_samples,
        "seed": likelihood.seed,
        "round_trip_levels": round_trip,
    }
    write_note(snakemake.output.summary, summary | asdict(measured))
