"""Assembles Table 1."""

from itertools import product

from hybridflow.io.records import read_record
from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.report.asked import check_asked
    from hybridflow.report.results import VariantInfo
    from hybridflow.report.tables.table import write_table

    models = list(product(settings.variants, settings.seeds))  # the order of the rule's inputs
    likelihoods = dict(zip(models, snakemake.input.likelihoods, strict=True))
    fidelities = dict(zip(models, snakemake.input.fidelities, strict=True))
    check_asked(settings, dict(zip(models, snakemake.params.checkpoints, strict=True)), likelihoods, fidelities)
    resolved = [settings.variants[name] for name in settings.variants]
    write_table(
        snakemake.output.csv,
        snakemake.output.md,
        snakemake.output.tex,
        [
            VariantInfo(v.name, v.discriminator.kind if v.discriminator else None, v.adversarial_weight)
            for v in resolved
        ],
        likelihoods,
        fidelities,
        settings.experiment,
        settings.small,
        read_record(snakemake.input.ruler) if snakemake.input.ruler else None,
    )
