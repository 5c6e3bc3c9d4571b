"""Records versions, hardware, seeds, configuration and wall times."""

from itertools import product
from pathlib import Path

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.io.hashing import sha256_file
    from hybridflow.models.checkpoint import check_model, read_metadata
    from hybridflow.report.histories import read_whole_history
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
        check_model(Path(path), *model)
        metadata = read_metadata(Path(path))
        checkpoints[model] = metadata | {
            "sha256": sha256_file(path),
            # A checkpoint from the store costs its rule seconds; this is what its training took.
            "training_seconds": float(read_whole_history(history, metadata)["seconds"].iloc[-1]),
        }
    write_provenance(
        snakemake.output.record,
        collect_provenance(settings, snakemake.config, benchmarks, checkpoints, Path.cwd()),
    )
