"""Every metric that compares a model's samples with the dataset, from the features of both."""

from pathlib import Path

from hybridflow.io.files import atomic_path
from hybridflow.io.records import read_record, write_record
from hybridflow.io.run_folder import RunFolder
from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    import numpy as np

    from hybridflow.evaluation.fidelity import measure_fidelity
    from hybridflow.runtime.revision import code_revision

    results = f"results/{settings.experiment}"
    wildcards = snakemake.wildcards
    run = RunFolder(results, wildcards.variant, wildcards.seed)
    if "temperature" in wildcards.keys():  # noqa: SIM118 (not the values)
        run = run.at(wildcards.temperature)
    extractors = settings.evaluation.needed_extractors
    heads = {}
    for name in settings.evaluation.class_extractors:
        from hybridflow.evaluation.extractors.base import extractor_class  # torch, which other metrics do not need

        weights = Path(f"{results}/reference/{name}.weights")
        read_record(weights.with_suffix(".json"), [weights.name], extractor=name)  # compares the file with its hash
        heads[name] = extractor_class(name).head(weights)
    measured, contributions = measure_fidelity(
        settings.evaluation.metrics,
        run.samples_record,
        {name: run.features(name) for name in extractors},
        {(name, split): f"{results}/reference/{name}-{split}.npz" for name, split in settings.evaluation.references},
        {name: read_record(f"{results}/reference/{name}.json", ())["description"] for name in extractors},
        {
            (name, split): f"{results}/reference/{name}-{split}-features.npy"
            for name, split in settings.evaluation.feature_references
        },
        heads,
    )
    parts = Path(snakemake.output.contributions)
    with atomic_path(parts) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, **contributions)
    write_record(snakemake.output.summary, measured | {"revision": code_revision()}, [parts])
