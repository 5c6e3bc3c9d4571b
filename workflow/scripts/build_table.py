"""Assembles Table 1."""

from pathlib import Path

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.report.results import read_results
    from hybridflow.report.tables.table import write_table

    output = snakemake.output
    results = read_results(Path(output.csv).parent, settings, snakemake.params.dataset)
    write_table(output.csv, output.md, output.tex, results)
