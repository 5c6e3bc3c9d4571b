"""Draws images from a checkpoint."""

from pathlib import Path

from hybridflow.files import write_json
from hybridflow.job import torch_job

with torch_job(snakemake, snakemake.params.device) as (settings, device):
    from hybridflow.checkpoint import load_flow
    from hybridflow.sample import sample_to_file

    flow, metadata = load_flow(Path(snakemake.input.checkpoint), device)
    label = f"sample {snakemake.wildcards.variant} seed {snakemake.wildcards.seed}"
    sample_to_file(flow, settings.sampling, Path(snakemake.output.samples), device, metadata["key"], label)
    note = {"checkpoint": metadata["key"], "sampling": settings.sampling.model_dump(mode="json")}
    write_json(snakemake.output.note, note)
