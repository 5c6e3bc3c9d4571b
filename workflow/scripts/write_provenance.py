"""Records versions, hardware, seeds, configuration and wall times."""

from itertools import product
from pathlib import Path

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.io.records import read_record, record_of
    from hybridflow.models.checkpoint import read_metadata
    from hybridflow.report.histories import read_history
    from hybridflow.report.provenance import collect_provenance, write_provenance

    folder = Path(snakemake.params.benchmarks)
    benchmarks = {str(path.relative_to(folder).with_suffix("")): path for path in sorted(folder.rglob("*.tsv"))}
    checkpoints = {}
    for model, path, history in zip(
        product(settings.variants, settings.seeds),
        snakemake.input.checkpoints,
        snakemake.input.histories,
        strict=True,
    ):
        variant, seed = model
        record = read_record(record_of(path), variant=variant, seed=seed)
        checkpoints[model] = read_metadata(Path(path)) | {
            "sha256": record["files"][Path(path).name],
            # A checkpoint from the store costs its rule seconds; this is what its training took.
            "training_seconds": float(read_history(history)["seconds"].iloc[-1]),
        }
    write_provenance(
        snakemake.output.record,
        collect_provenance(settings, snakemake.config, benchmarks, checkpoints, Path.cwd()),
    )
