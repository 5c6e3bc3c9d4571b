"""Draws the sample figure: one panel a variant, of its first seed, by rising adversarial weight."""

from itertools import product

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.report.figures.draw import draw_samples

    samples = dict(zip(product(settings.variants, settings.seeds), snakemake.input.samples, strict=True))
    panels = [
        (name, variant.adversarial_weight, samples[name, settings.seeds[0]])
        for name, variant in settings.variants.items()
    ]
    draw_samples(list(snakemake.output), panels)
