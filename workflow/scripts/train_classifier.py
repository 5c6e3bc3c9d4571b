"""Trains the classifier behind FD-CIFAR unless the store holds it."""

import sys
from pathlib import Path

from hybridflow.io.records import copy_result
from hybridflow.jobs import job_device, workflow_job
from hybridflow.store.entries import claim, classifier_entry

with workflow_job(snakemake) as settings:
    from hybridflow.data.images import load_images, load_labels
    from hybridflow.evaluation.extractors.cifar_classifier import save_classifier
    from hybridflow.training.classifier import train_classifier
    from hybridflow.training.resume import ResumeState

    classifier = settings.evaluation.extractors["cifar_classifier"]
    entry = classifier_entry(settings, snakemake.params.dataset)
    stored, resume = entry.file(".safetensors"), ResumeState(entry.file(".resume"), entry.key)
    with claim(entry):
        if entry.stored:
            print(f"{entry.name}: found in the store under {entry.key}", file=sys.stderr)
        else:
            entry.record.unlink(missing_ok=True)  # it must not speak for a file that is written now
            with job_device(snakemake, snakemake.params.device) as device:
                state, accuracy = train_classifier(
                    load_images(snakemake.input.images),
                    load_labels(snakemake.input.labels[0]),
                    load_images(snakemake.input.test),
                    load_labels(snakemake.input.labels[1]),
                    classifier,
                    device,
                    snakemake.threads,
                    "train classifier",
                    resume,
                )
            save_classifier(stored, state, classifier, accuracy, entry.key)
        resume.remove()
    names = {stored.name: Path(snakemake.output.classifier).name}
    accuracy = copy_result(entry.record, snakemake.output.record, names, key=entry.key)["accuracy"]
    print(f"classifier: {100 * accuracy['test']:.1f} % accuracy on the test split", file=sys.stderr)
