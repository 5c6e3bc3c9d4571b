"""Assembles the frontier of likelihood and sample quality, as tables and as a figure."""

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.io.files import write_text
    from hybridflow.report.figures.frontier import draw_frontier
    from hybridflow.report.tables.frontier import frontier_table, to_markdown
    from hybridflow.report.tables.table import read_csv, write_csv

    output, table = snakemake.output, read_csv(snakemake.input.table)
    frontier = frontier_table(table, settings)
    write_csv(output.csv, frontier)
    write_text(output.md, to_markdown(frontier, settings.experiment))
    draw_frontier([output.png, output.pdf], frontier, table)
