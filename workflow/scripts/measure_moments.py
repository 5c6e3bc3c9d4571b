"""Measures feature statistics of a split of the dataset (kept in the store) or of a model's samples."""

import sys

from hybridflow.files import place, read_note, sha256_file
from hybridflow.job import torch_job
from hybridflow.store import claim, moments_entry

name, weights = snakemake.wildcards.extractor, snakemake.input.weights

with torch_job(snakemake, snakemake.params.device) as (settings, device):
    from hybridflow.data.images import load_images
    from hybridflow.metrics.classifier import ClassCounter, ClassifierExtractor, load_classifier
    from hybridflow.metrics.features import compute_moments
    from hybridflow.metrics.frechet import load_moments, save_moments
    from hybridflow.metrics.inception import check_weights, load_inception

    if name == "inception":
        check_weights(settings.evaluation.fid, weights)
    description = {"extractor": name, "weights_sha256": sha256_file(weights)}

    def load_extractor():
        if name == "inception":
            return load_inception(weights, device)
        return ClassifierExtractor(load_classifier(weights, device)[0], device)

    def measure(extractor, label):
        images = load_images(snakemake.input.images)
        return compute_moments(images, extractor, snakemake.params.batch_size, device, label)

    if snakemake.rule == "measure_reference":
        split = snakemake.wildcards.split
        description |= {"split": split, "dataset": snakemake.params.dataset}
        entry = moments_entry(settings, name, split, snakemake.params.dataset, weights=description["weights_sha256"])
        stored = entry.file(".npz")
        with claim(entry):
            # Weights trained anew on another machine differ in their bits: statistics of the old ones do not fit.
            if entry.stored and load_moments(stored)[1] == description:
                print(f"{entry.name}: found in the store under {entry.key}", file=sys.stderr)
            else:
                save_moments(stored, measure(load_extractor(), f"features {name} {split}"), description)
        place(stored, snakemake.output.moments)
    else:
        description |= read_note(snakemake.input.note)  # checkpoint, sampling, sha256; repeat if not the first set
        label = f"features {name} {snakemake.wildcards.variant} seed {snakemake.wildcards.seed}"
        if "repeat" in description:
            label += f" repeat {description['repeat']}"
        extractor = load_extractor()
        if name == "cifar_classifier":
            extractor = ClassCounter(extractor)
        moments = measure(extractor, label)
        if name == "cifar_classifier":
            description["class_counts"] = extractor.counts
        save_moments(snakemake.output.moments, moments, description)
