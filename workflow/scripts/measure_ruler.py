"""Measures FD-CIFAR of the test images, of as many of them as a set of samples has, and of corrupted ones."""

from hybridflow.io.records import write_record
from hybridflow.jobs import torch_job

with torch_job(snakemake, snakemake.params.device) as (settings, device):
    import pandas as pd

    from hybridflow.data.images import load_images
    from hybridflow.evaluation.calibration import RULER_COLUMNS, measure_floor, measure_ruler
    from hybridflow.evaluation.extractors.cifar_classifier import ClassifierExtractor, load_classifier
    from hybridflow.evaluation.metrics.frechet import load_moments
    from hybridflow.report.tables.table import write_csv

    extractor = ClassifierExtractor(load_classifier(snakemake.input.classifier, device)[0], device)
    train, test = (load_moments(path)[0] for path in (snakemake.input.train, snakemake.input.test))
    images = load_images(snakemake.input.images)
    batch_size = settings.evaluation.extractors["cifar_classifier"].batch_size
    ruler = measure_ruler(images, train, test, extractor, batch_size, device)
    count, floor = measure_floor(images, snakemake.params.images, train, extractor, batch_size, device)
    rows = [(name, len(images), train.count, distance) for name, distance in ruler.items()]
    if count < len(images):
        rows.insert(1, ("test images, as many as a set of samples", count, train.count, floor))
    write_csv(snakemake.output.rows, pd.DataFrame(rows, columns=list(RULER_COLUMNS)))
    write_record(snakemake.output.ruler, ruler)
