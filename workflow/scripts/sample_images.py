"""Draws a set of images from a checkpoint: the first one, or another (wildcard ``repeat``)."""

from pathlib import Path

from hybridflow.io.files import write_note
from hybridflow.jobs import torch_job

with torch_job(snakemake, snakemake.params.device) as (settings, device):
    from hybridflow.evaluation.sampling import sample_to_file
    from hybridflow.models.checkpoint import check_model, load_flow

    check_model(Path(snakemake.input.checkpoint), snakemake.wildcards.variant, int(snakemake.wildcards.seed))
    flow, metadata = load_flow(Path(snakemake.input.checkpoint), device)
    repeat = int(snakemake.wildcards.get("repeat", 0))
    label = f"sample {snakemake.wildcards.variant} seed {snakemake.wildcards.seed}"
    note = {"checkpoint": metadata["key"], "sampling": settings.sampling.identity()}
    if repeat > 0:
        label += f" repeat {repeat}"
        note["repeat"] = repeat
    samples = Path(snakemake.output.samples)
    note["sha256"] = sample_to_file(flow, settings.sampling, samples, device, metadata["key"], label, repeat)
    write_note(snakemake.output.note, note)
