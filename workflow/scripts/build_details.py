"""Assembles the page of details beside Table 1, and its CSV files."""

from pathlib import Path

from hybridflow.io.records import read_record
from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.report.details import write_details
    from hybridflow.report.results import read_results

    output = snakemake.output
    results = read_results(Path(output.md).parent, settings, snakemake.params.dataset)
    hardware = read_record(snakemake.input.provenance)["hardware"]
    write_details(output.md, output.differences, output.classes, output.costs, results, hardware)
