"""Measures FD-CIFAR of the test images and of corrupted ones."""

from hybridflow.files import write_json
from hybridflow.job import torch_job

with torch_job(snakemake, snakemake.params.device) as (settings, device):
    from hybridflow.data.images import load_images
    from hybridflow.metrics.classifier import ClassifierExtractor, load_classifier
    from hybridflow.metrics.frechet import load_moments
    from hybridflow.metrics.ruler import measure_ruler

    extractor = ClassifierExtractor(load_classifier(snakemake.input.classifier, device)[0], device)
    train, test = (load_moments(path)[0] for path in (snakemake.input.train, snakemake.input.test))
    images = load_images(snakemake.input.images)
    write_json(
        snakemake.output.ruler,
        measure_ruler(images, train, test, extractor, settings.evaluation.fd_cifar.batch_size, device),
    )
