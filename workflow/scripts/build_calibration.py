"""Assembles what the metrics say of images of known quality, as a table and as a figure."""

from pathlib import Path

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.report.figures.calibration import draw_calibration
    from hybridflow.report.results import read_results
    from hybridflow.report.tables.calibration import calibration_table
    from hybridflow.report.tables.table import write_csv

    output = snakemake.output
    table = calibration_table(read_results(Path(output.csv).parent, settings, snakemake.params.dataset))
    write_csv(output.csv, table)
    draw_calibration([output.png, output.pdf], table)
