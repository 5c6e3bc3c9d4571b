"""Measures an extractor's metrics on test images, on as many as a set of samples has, and on corrupted ones. No model
changes what comes out, so the store keeps it."""

import sys
from pathlib import Path

from hybridflow.io.records import copy_result, read_record, write_record
from hybridflow.jobs import job_device, workflow_job
from hybridflow.store.entries import calibration_entry, claim

name = snakemake.wildcards.extractor

with workflow_job(snakemake) as settings:
    entry = calibration_entry(settings, name, snakemake.params.dataset)
    weights = Path(snakemake.input.weights)
    extractor_record = read_record(snakemake.input.weights_record, [weights.name], extractor=name)
    description = {"extractor": name, "weights_sha256": extractor_record["weights_sha256"]}
    description |= {"key": entry.key, "dataset": snakemake.params.dataset}
    with claim(entry):
        # Weights trained again on another machine differ in their bits: measurements with the old ones do not fit.
        if entry.stored and description.items() <= read_record(entry.record).items():
            print(f"{entry.name}: found in the store under {entry.key}", file=sys.stderr)
        else:
            from hybridflow.data.images import load_images
            from hybridflow.evaluation.calibration import calibrate
            from hybridflow.evaluation.extractors.base import extractor_class
            from hybridflow.evaluation.metrics.features import NO_VECTORS, Features, load_vectors
            from hybridflow.evaluation.metrics.frechet import load_moments
            from hybridflow.runtime.revision import code_revision

            vectors = load_vectors(snakemake.input.vectors[0])[0] if snakemake.input.vectors else NO_VECTORS
            with job_device(snakemake, snakemake.params.device) as device:
                rows = calibrate(
                    settings.evaluation.calibrated_metrics(name),
                    load_images(snakemake.input.images),
                    load_images(snakemake.input.train_images),
                    settings.sampling.images,
                    Features(load_moments(snakemake.input.train)[0], vectors),
                    extractor_class(name).load(weights, settings, device),
                    settings.evaluation.extractors[name].batch_size,
                    device,
                    settings.evaluation.features if len(vectors) else 0,
                )
            write_record(entry.record, description | {"rows": rows, "revision": code_revision()})
    copy_result(entry.record, snakemake.output.record, {})
