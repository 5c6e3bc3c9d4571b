"""Records versions, revisions, hardware, seeds, configuration and wall times."""

from pathlib import Path

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.io.records import write_record
    from hybridflow.report.provenance import collect_provenance
    from hybridflow.report.results import read_results

    results = read_results(Path(snakemake.output.record).parent, settings, snakemake.params.dataset)
    write_record(snakemake.output.record, collect_provenance(results, snakemake.config, snakemake.params.benchmarks))
