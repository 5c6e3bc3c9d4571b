"""Draws bits/dim against the Frechet distances."""

from hybridflow.jobs import workflow_job

with workflow_job(snakemake):
    from hybridflow.report.figures.draw import draw_tradeoff

    draw_tradeoff(list(snakemake.output), snakemake.input.table)
