"""Assembles the metrics of samples at several temperatures, as a table and as a figure."""

from pathlib import Path

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.report.figures.temperature import draw_temperature
    from hybridflow.report.tables.table import write_csv
    from hybridflow.report.tables.temperature import temperature_table

    output = snakemake.output
    table = temperature_table(Path(output.csv).parent, settings)
    write_csv(output.csv, table)
    draw_temperature([output.png, output.pdf], table, settings.evaluation.printed)
