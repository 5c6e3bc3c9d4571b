"""Assembles the report page: one HTML file with everything."""

from pathlib import Path

from hybridflow.io.records import read_record
from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.report.page.page import write_page
    from hybridflow.report.results import read_results
    from hybridflow.report.tables.table import read_csv

    given = snakemake.input
    write_page(
        snakemake.output.html,
        read_results(Path(given.table).parent, settings, snakemake.params.dataset),
        read_csv(given.frontier),
        list(zip(given.figures, snakemake.params.captions, strict=True)),
        Path(given.details).read_text(encoding="utf-8"),
        read_record(given.provenance),
    )
