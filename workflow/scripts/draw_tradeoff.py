"""Draws bits/dim against the metrics of the table."""

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.report.figures.tradeoff import draw_tradeoff
    from hybridflow.report.tables.table import read_csv

    draw_tradeoff(list(snakemake.output), read_csv(snakemake.input.table), settings.evaluation.metrics)
