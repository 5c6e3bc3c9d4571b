"""Trains the classifier behind FD-CIFAR unless the store holds it."""

import sys

from hybridflow.io.files import place
from hybridflow.io.repair import repair_hint
from hybridflow.jobs import job_device, workflow_job
from hybridflow.runtime.errors import UserError
from hybridflow.store.entries import claim, classifier_entry

with workflow_job(snakemake) as settings:
    from hybridflow.data.images import load_images, load_labels
    from hybridflow.evaluation.extractors.cifar_classifier import load_classifier, save_classifier
    from hybridflow.training.classifier import train_classifier
    from hybridflow.training.resume import ResumeState

    classifier = settings.evaluation.extractors["cifar_classifier"]
    entry = classifier_entry(settings, snakemake.params.dataset)
    stored, resume = entry.file(".safetensors"), ResumeState(entry.file(".resume"), entry.key)
    with claim(entry):
        if entry.stored:
            print(f"{entry.name}: found in the store under {entry.key}", file=sys.stderr)
        else:
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
            save_classifier(stored, state, classifier, accuracy)
        resume.remove()
    description = load_classifier(stored, "cpu")[1]
    if description["settings"] != classifier.key_values():
        raise UserError(f"{stored} holds a classifier that was trained with other settings; {repair_hint(stored)}.")
    accuracy = description["accuracy"]
    print(f"classifier: {100 * accuracy['test']:.1f} % accuracy on the test split", file=sys.stderr)
    place(stored, snakemake.output.classifier)
