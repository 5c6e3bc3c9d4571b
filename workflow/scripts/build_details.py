"""Assembles the page of details beside Table 1, and its CSV files."""

from itertools import product
from pathlib import Path

from hybridflow.io.records import read_record
from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    import pandas as pd

    from hybridflow.report.details import ModelFiles, write_details
    from hybridflow.report.page import write_page

    columns = ("likelihoods", "bounds", "fidelities", "checkpoints", "histories")
    files = zip(*(snakemake.input[column] for column in columns), strict=True)
    models = product(settings.variants, settings.seeds)  # the order of the rule's inputs
    write_details(
        snakemake.output.md,
        snakemake.output.paired,
        snakemake.output.classes,
        snakemake.output.costs,
        settings,
        {key: ModelFiles(*paths) for key, paths in zip(models, files, strict=True)},
        pd.read_csv(snakemake.input.ruler) if snakemake.input.ruler else None,
        read_record(snakemake.input.provenance)["hardware"],
    )
    write_page(snakemake.output.html, Path(snakemake.output.md).read_text(encoding="utf-8"))
