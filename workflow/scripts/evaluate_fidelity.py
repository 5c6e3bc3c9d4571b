"""Every metric that compares a model's sets of samples with the dataset, from the statistics of their features."""

from hybridflow.io.records import read_record, write_record
from hybridflow.io.run_folder import RunFolder
from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.evaluation.fidelity import measure_fidelity
    from hybridflow.runtime.revision import code_revision

    results = f"results/{settings.experiment}"
    run = RunFolder(results, snakemake.wildcards.variant, snakemake.wildcards.seed)
    extractors = settings.evaluation.needed_extractors
    sets = range(settings.sampling.repeats if extractors else 1)
    measured = measure_fidelity(
        settings.evaluation.metrics,
        [run.samples_record(number) for number in sets],
        [{name: run.features(name, number) for name in extractors} for number in sets],
        {(name, split): f"{results}/reference/{name}-{split}.npz" for name, split in settings.evaluation.references},
        {name: read_record(f"{results}/reference/{name}.json", ())["description"] for name in extractors},
        {
            (name, split): f"{results}/reference/{name}-{split}-features.npy"
            for name, split in settings.evaluation.feature_references
        },
    )
    write_record(snakemake.output.summary, measured | {"revision": code_revision()})
