"""Measures what the likelihoods of all variants say of several kinds of images."""

from pathlib import Path

from hybridflow.jobs import torch_job

IMAGES = 200  # of every kind

with torch_job(snakemake, snakemake.params.device) as (settings, device):
    from hybridflow.data.images import load_images
    from hybridflow.evaluation.other_images import bits_of_images, image_kinds
    from hybridflow.io.run_folder import RunFolder
    from hybridflow.models.checkpoint import load_recorded
    from hybridflow.report.figures.likelihood_of_images import draw_likelihoods, likelihood_table
    from hybridflow.report.tables.table import write_csv
    from hybridflow.runtime.progress import Progress

    results, likelihood, seed = Path(snakemake.output.csv).parents[1], settings.evaluation.likelihood, settings.seeds[0]
    kinds = image_kinds(load_images(snakemake.input.train), load_images(snakemake.input.test), IMAGES, likelihood.seed)
    measured = []
    with Progress(len(snakemake.params.variants), "likelihood of images", " models", shared=True) as progress:
        for variant in snakemake.params.variants:
            model, _ = load_recorded(RunFolder(results, variant, seed).checkpoint, variant, seed, device)
            bits = {
                kind: bits_of_images(model, images, likelihood.batch_size, likelihood.seed)
                for kind, images in kinds.items()
            }
            measured.append((variant, bits))
            progress.update(1)
    write_csv(snakemake.output.csv, likelihood_table([(variant, seed, bits) for variant, bits in measured]))
    draw_likelihoods([snakemake.output.png], measured)
