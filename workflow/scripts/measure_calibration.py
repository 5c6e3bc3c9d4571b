"""Measures an extractor's metrics on test images, on as many as a set of samples has, and on corrupted ones."""

from pathlib import Path

from hybridflow.io.records import read_record, write_record
from hybridflow.jobs import torch_job

name = snakemake.wildcards.extractor

with torch_job(snakemake, snakemake.params.device) as (settings, device):
    from hybridflow.config.metrics import METRICS
    from hybridflow.data.images import load_images
    from hybridflow.evaluation.calibration import calibrate
    from hybridflow.evaluation.extractors.base import extractor_class
    from hybridflow.evaluation.metrics.features import NO_VECTORS, Features, load_vectors
    from hybridflow.evaluation.metrics.frechet import load_moments
    from hybridflow.runtime.revision import code_revision

    weights = Path(snakemake.input.weights)
    read_record(snakemake.input.weights_record, [weights.name], extractor=name)
    chosen = [METRICS[metric] for metric in settings.evaluation.metrics if METRICS[metric].needs != "classes"]
    vectors = load_vectors(snakemake.input.vectors[0])[0] if snakemake.input.vectors else NO_VECTORS
    rows = calibrate(
        [metric for metric in chosen if (metric.extractor, metric.reference) == (name, "train")],
        load_images(snakemake.input.images),
        load_images(snakemake.input.train_images),
        settings.sampling.images,
        Features(load_moments(snakemake.input.train)[0], vectors),
        extractor_class(name).load(weights, settings, device),
        settings.evaluation.extractors[name].batch_size,
        device,
        settings.evaluation.features if len(vectors) else 0,
    )
    write_record(snakemake.output.record, {"extractor": name, "rows": rows, "revision": code_revision()})
