"""Measures moments of features: of a split of the dataset (kept in the store), or of a set of samples."""

import sys
from pathlib import Path

from hybridflow.io.records import copy_result, read_record
from hybridflow.jobs import job_device, workflow_job
from hybridflow.store.entries import claim, moments_entry

name, wildcards = snakemake.wildcards.extractor, snakemake.wildcards

with workflow_job(snakemake) as settings:
    from hybridflow.data.images import load_images
    from hybridflow.evaluation.extractors.base import compute_moments, extractor_class
    from hybridflow.evaluation.metrics.frechet import save_moments
    from hybridflow.runtime.revision import code_revision

    weights = Path(snakemake.input.weights)
    extractor_record = read_record(snakemake.input.weights_record, [weights.name], extractor=name)
    description = {"extractor": name, "weights_sha256": extractor_record["weights_sha256"]}

    def measure(path, what, label):
        """Computes the features of all images and writes their moments, with what they are of."""
        with job_device(snakemake, snakemake.params.device) as device:
            extractor = extractor_class(name).load(weights, settings, device)
            images = load_images(snakemake.input.images)
            batch_size = settings.evaluation.extractors[name].batch_size
            moments = compute_moments(images, extractor, batch_size, device, label)
        save_moments(path, moments, what | extractor.tallies() | {"revision": code_revision()})

    if snakemake.rule == "measure_reference":
        entry = moments_entry(settings, name, wildcards.split, snakemake.params.dataset)
        description |= {"key": entry.key, "split": wildcards.split, "dataset": snakemake.params.dataset}
        stored = entry.file(".npz")
        with claim(entry):
            # Weights trained again on another machine differ in their bits: statistics of the old ones do not fit.
            if entry.stored and description.items() <= read_record(entry.record).items():
                print(f"{entry.name}: found in the store under {entry.key}", file=sys.stderr)
            else:
                entry.record.unlink(missing_ok=True)  # it must not speak for a file that is written now
                measure(stored, description, f"features {name} {wildcards.split}")
        copy_result(entry.record, snakemake.output.record, {stored.name: Path(snakemake.output.moments).name})
    else:
        samples = read_record(snakemake.input.samples_record)
        description |= {part: samples[part] for part in ("checkpoint", "sampling", "repeat") if part in samples}
        description |= {"samples_sha256": samples["files"]["samples.npy"]}
        repeat = f" repeat {samples['repeat']}" if "repeat" in samples else ""
        measure(
            Path(snakemake.output.moments),
            description,
            f"features {name} {wildcards.variant} seed {wildcards.seed}{repeat}",
        )
