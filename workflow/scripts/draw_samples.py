"""Draws the sample figure: one panel a variant, of its first seed, by rising adversarial weight."""

from pathlib import Path

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.io.run_folder import RunFolder
    from hybridflow.report.figures.samples import SamplePanel, draw_samples

    results, seed = Path(snakemake.output.png).parents[1], settings.seeds[0]
    panels = [
        SamplePanel(name, variant.adversarial_weight, RunFolder(results, name, seed).samples)
        for name, variant in settings.variants.items()
    ]
    draw_samples(list(snakemake.output), panels)
