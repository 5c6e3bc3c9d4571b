"""Measures how exactly every flow gives test images back."""

from pathlib import Path

from hybridflow.jobs import torch_job

IMAGES = 200

with torch_job(snakemake, snakemake.params.device) as (settings, device):
    from dataclasses import asdict

    import pandas as pd

    from hybridflow.data.images import load_images
    from hybridflow.evaluation.reconstruction import reconstruction
    from hybridflow.io.run_folder import RunFolder
    from hybridflow.models.checkpoint import load_recorded
    from hybridflow.report.tables.table import write_csv

    results, likelihood, seed = Path(snakemake.output[0]).parents[1], settings.evaluation.likelihood, settings.seeds[0]
    test, rows = load_images(snakemake.input.test)[:IMAGES], []
    for variant in snakemake.params.variants:
        flow, _ = load_recorded(RunFolder(results, variant, seed).checkpoint, variant, seed, device)
        measured = reconstruction(flow, test, likelihood.batch_size, likelihood.seed)
        rows.append({"variant": variant, "seed": seed} | asdict(measured))
    write_csv(snakemake.output[0], pd.DataFrame(rows))
