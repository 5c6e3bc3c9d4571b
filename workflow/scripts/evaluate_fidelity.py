"""Frechet distances between a model's samples and the dataset, from their feature statistics."""

from hybridflow.files import read_json, write_json
from hybridflow.job import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.metrics.classifier import load_classifier
    from hybridflow.metrics.fidelity import measure_fidelity

    accuracy = None
    if snakemake.input.classifier:
        accuracy = load_classifier(snakemake.input.classifier, "cpu")[1]["accuracy"]["test"]
    note = read_json(snakemake.input.note)
    write_json(
        snakemake.output.summary,
        measure_fidelity(note, snakemake.input.samples, snakemake.input.references, accuracy),
    )
