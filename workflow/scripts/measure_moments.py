"""Measures feature statistics of a split of the dataset (kept in the store) or of a model's samples."""

import sys
from pathlib import Path

from hybridflow.io.hashing import sha256_file
from hybridflow.io.records import copy_result, read_record
from hybridflow.jobs import job_device, workflow_job
from hybridflow.store.entries import claim, moments_entry

name, weights = snakemake.wildcards.extractor, snakemake.input.weights

with workflow_job(snakemake) as settings:
    from hybridflow.data.images import load_images
    from hybridflow.evaluation.extractors.base import compute_moments
    from hybridflow.evaluation.extractors.cifar_classifier import ClassCounter, ClassifierExtractor, load_classifier
    from hybridflow.evaluation.extractors.inception import check_weights, load_inception
    from hybridflow.evaluation.metrics.frechet import save_moments
    from hybridflow.runtime.revision import code_revision

    if name == "inception":
        check_weights(settings.evaluation.extractors["inception"], weights)
    description = {"extractor": name, "weights_sha256": sha256_file(weights)}

    def measure(label, counted=False):
        """Moments of the images' features and, where asked, how many images the classifier puts into each class."""
        with job_device(snakemake, snakemake.params.device) as device:
            if name == "inception":
                extractor = load_inception(weights, device)
            else:
                extractor = ClassifierExtractor(load_classifier(weights, device)[0], device)
            if counted:
                extractor = ClassCounter(extractor)
            images = load_images(snakemake.input.images)
            moments = compute_moments(images, extractor, snakemake.params.batch_size, device, label)
            return moments, extractor.counts if counted else None

    if snakemake.rule == "measure_reference":
        split = snakemake.wildcards.split
        entry = moments_entry(settings, name, split, snakemake.params.dataset, weights=description["weights_sha256"])
        description |= {"key": entry.key, "split": split, "dataset": snakemake.params.dataset}
        stored = entry.file(".npz")
        with claim(entry):
            # Weights trained again on another machine differ in their bits: statistics of the old ones do not fit.
            if entry.stored and description.items() <= read_record(entry.record).items():
                print(f"{entry.name}: found in the store under {entry.key}", file=sys.stderr)
            else:
                entry.record.unlink(missing_ok=True)  # it must not speak for a file that is written now
                moments = measure(f"features {name} {split}")[0]
                save_moments(stored, moments, description | {"revision": code_revision()})
        copy_result(entry.record, snakemake.output.record, {stored.name: Path(snakemake.output.moments).name})
    else:
        samples = read_record(snakemake.input.note)
        description |= {part: samples[part] for part in ("checkpoint", "sampling", "repeat") if part in samples}
        description |= {"samples_sha256": samples["files"]["samples.npy"], "revision": code_revision()}
        label = f"features {name} {snakemake.wildcards.variant} seed {snakemake.wildcards.seed}"
        if "repeat" in description:
            label += f" repeat {description['repeat']}"
        moments, counts = measure(label, counted=name == "cifar_classifier")
        if counts is not None:
            description["class_counts"] = counts
        save_moments(snakemake.output.moments, moments, description)
