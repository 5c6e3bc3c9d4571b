"""Frechet distances between a model's sets of samples and the dataset, from their feature statistics."""

from hybridflow.io.files import read_note, write_note
from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.evaluation.extractors.cifar_classifier import load_classifier
    from hybridflow.evaluation.fidelity import measure_fidelity

    accuracy = None
    if snakemake.input.classifier:
        accuracy = load_classifier(snakemake.input.classifier, "cpu")[1]["accuracy"]["test"]
    notes = [read_note(path) for path in snakemake.input.notes]
    samples = list(snakemake.input.samples)
    extractors = len(samples) // len(notes)  # all of the first set, then all of the next
    write_note(
        snakemake.output.summary,
        measure_fidelity(
            notes,
            [samples[number * extractors : (number + 1) * extractors] for number in range(len(notes))],
            snakemake.input.references,
            accuracy,
        ),
    )
