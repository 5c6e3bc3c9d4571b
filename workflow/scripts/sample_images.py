"""Draws images from a checkpoint."""

from pathlib import Path

from hybridflow.io.records import write_record
from hybridflow.jobs import torch_job

with torch_job(snakemake, snakemake.params.device) as (settings, device):
    from hybridflow.evaluation.sampling import sample_to_file
    from hybridflow.models.checkpoint import load_recorded
    from hybridflow.runtime.revision import code_revision

    variant, seed = snakemake.wildcards.variant, int(snakemake.wildcards.seed)
    generator, metadata = load_recorded(snakemake.input.checkpoint, variant, seed, device)
    temperature = float(snakemake.wildcards.get("temperature", settings.sampling.temperature))
    sampling = settings.sampling.model_copy(update={"temperature": temperature})
    label = f"sample {variant} seed {seed}"
    record = {"checkpoint": metadata["key"], "sampling": sampling.identity()}
    samples = Path(snakemake.output.samples)
    sample_to_file(generator, sampling, samples, device, metadata["key"], label)
    write_record(snakemake.output.record, record | {"revision": code_revision()}, [samples])
