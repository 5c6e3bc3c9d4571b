"""Draws the training curves."""

from itertools import product

from hybridflow.io.records import read_record
from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.report.figures.draw import draw_training

    for record in snakemake.input.records:
        read_record(record, ["training.jsonl"])
    several = len(settings.seeds) > 1
    labels = [f"{name}, seed {seed}" if several else name for name, seed in product(settings.variants, settings.seeds)]
    draw_training(list(snakemake.output), list(zip(labels, snakemake.input.histories, strict=True)))
