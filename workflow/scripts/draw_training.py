"""Draws the training curves."""

from itertools import product

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.report.figures.draw import draw_training

    several = len(settings.seeds) > 1
    labels = [f"{name}, seed {seed}" if several else name for name, seed in product(settings.variants, settings.seeds)]
    draw_training(list(snakemake.output), list(zip(labels, snakemake.input, strict=True)))
