"""Frechet distances between a model's sets of samples and the dataset, from their feature statistics."""

from hybridflow.io.records import read_record, record_of, write_record
from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.evaluation.fidelity import VERSION, measure_fidelity
    from hybridflow.runtime.revision import code_revision

    accuracy = None
    if snakemake.input.classifier:
        accuracy = read_record(record_of(snakemake.input.classifier))["accuracy"]["test"]
    notes = [read_record(path, ()) for path in snakemake.input.notes]
    samples = list(snakemake.input.samples)
    extractors = len(samples) // len(notes)  # all of the first set, then all of the next
    measured = measure_fidelity(
        notes,
        [samples[number * extractors : (number + 1) * extractors] for number in range(len(notes))],
        snakemake.input.references,
        accuracy,
    )
    write_record(snakemake.output.summary, measured | {"version": VERSION, "revision": code_revision()})
