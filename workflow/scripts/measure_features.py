"""Measures features: moments of all images of a split of the dataset, vectors of its first ones (both kept in the
store), or both of a model's samples."""

import sys
from pathlib import Path

from hybridflow.io.records import copy_result, read_record, record_of, write_record
from hybridflow.jobs import job_device, workflow_job
from hybridflow.store.entries import claim, moments_entry, vectors_entry

name, wildcards = snakemake.wildcards.extractor, snakemake.wildcards

with workflow_job(snakemake) as settings:
    from hybridflow.evaluation.metrics.features import write_vectors
    from hybridflow.evaluation.metrics.frechet import save_moments
    from hybridflow.runtime.revision import code_revision

    weights, kept = Path(snakemake.input.weights), settings.evaluation.features
    extractor_record = read_record(snakemake.input.weights_record, [weights.name], extractor=name)
    description = {"extractor": name, "weights_sha256": extractor_record["weights_sha256"]}

    def measure(label, first=None, keep=0):
        """Features of the images (the first ones, if so many are named), and what else belongs into their record."""
        from hybridflow.data.images import load_images
        from hybridflow.evaluation.extractors.base import compute_features, extractor_class

        with job_device(snakemake, snakemake.params.device) as device:
            extractor = extractor_class(name).load(weights, settings, device)
            images = load_images(snakemake.input.images)[:first]
            batch_size = settings.evaluation.extractors[name].batch_size
            features = compute_features(images, extractor, batch_size, device, label, keep)
        return features, extractor.tallies() | {"revision": code_revision()}

    if "samples_record" in snakemake.input.keys():  # noqa: SIM118 (not the names of files)
        samples = read_record(snakemake.input.samples_record)
        description |= {part: samples[part] for part in ("checkpoint", "sampling")}
        description |= {"samples_sha256": samples["files"]["samples.npy"]}
        label = f"features {name} {wildcards.variant} seed {wildcards.seed}"
        features, more = measure(label, keep=kept)
        write_vectors(Path(snakemake.output.vectors), features.vectors)
        save_moments(snakemake.output.moments, features.moments, description | more, [Path(snakemake.output.vectors)])
    else:
        vectors = "vectors" in snakemake.output.keys()  # noqa: SIM118
        make_entry = vectors_entry if vectors else moments_entry
        entry = make_entry(settings, name, wildcards.split, snakemake.params.dataset)
        description |= {"key": entry.key, "split": wildcards.split, "dataset": snakemake.params.dataset}
        stored, label = entry.file(entry.suffixes[0]), f"features {name} {wildcards.split}"
        with claim(entry):
            # Weights trained again on another machine differ in their bits: features of the old ones do not fit.
            if entry.stored and description.items() <= read_record(entry.record).items():
                print(f"{entry.name}: found in the store under {entry.key}", file=sys.stderr)
            else:
                entry.record.unlink(missing_ok=True)  # it must not speak for a file that is written now
                if vectors:
                    features, more = measure(label, first=kept, keep=kept)
                    write_vectors(stored, features.vectors)
                    write_record(record_of(stored), description | more, [stored])
                else:
                    features, more = measure(label)
                    save_moments(stored, features.moments, description | more)
        copy_result(entry.record, snakemake.output.record, {stored.name: Path(snakemake.output[0]).name})
