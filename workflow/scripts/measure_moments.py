"""Measures feature statistics of a split of the dataset (kept in the store) or of a model's samples."""

import sys

from hybridflow.files import place, read_json, sha256_file
from hybridflow.job import torch_job
from hybridflow.store import claim, moments_entry

name, weights = snakemake.wildcards.extractor, snakemake.input.weights

with torch_job(snakemake, snakemake.params.device) as (settings, device):
    from hybridflow.data.images import load_images
    from hybridflow.metrics.classifier import ClassifierExtractor, load_classifier
    from hybridflow.metrics.features import compute_moments
    from hybridflow.metrics.frechet import load_moments, save_moments
    from hybridflow.metrics.inception import load_inception

    description = {"extractor": name, "weights_sha256": sha256_file(weights)}

    def measure(path, label):
        if name == "inception":
            extractor = load_inception(weights, device)
        else:
            extractor = ClassifierExtractor(load_classifier(weights, device)[0], device)
        images = load_images(snakemake.input.images)
        save_moments(path, compute_moments(images, extractor, snakemake.params.batch_size, device, label), description)

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
                measure(stored, f"features {name} {split}")
        place(stored, snakemake.output.moments)
    else:
        note = read_json(snakemake.input.note)
        description |= {"checkpoint": note["checkpoint"], "sampling": note["sampling"]}
        label = f"features {name} {snakemake.wildcards.variant} seed {snakemake.wildcards.seed}"
        measure(snakemake.output.moments, label)
