"""Measures bits/dim of a checkpoint on the test split."""

from dataclasses import asdict
from pathlib import Path

from hybridflow.files import write_json
from hybridflow.job import torch_job

with torch_job(snakemake, snakemake.params.device) as (settings, device):
    from hybridflow.checkpoint import load_flow
    from hybridflow.data.images import load_images
    from hybridflow.metrics.likelihood import evaluate_likelihood

    likelihood = settings.evaluation.likelihood
    flow, metadata = load_flow(Path(snakemake.input.checkpoint), device)
    label = f"likelihood {snakemake.wildcards.variant} seed {snakemake.wildcards.seed}"
    measured = evaluate_likelihood(
        flow,
        load_images(snakemake.input.images),
        likelihood,
        Path(snakemake.output.bounds),
        device,
        metadata["key"],
        label,
    )
    summary = {
        "checkpoint": metadata["key"],
        "split": "test",
        "importance_samples": likelihood.importance_samples,
        "seed": likelihood.seed,
    }
    write_json(snakemake.output.summary, summary | asdict(measured))
