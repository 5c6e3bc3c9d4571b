"""Draws the first samples of all variants side by side: a row shows what every variant makes of the same latents."""

from pathlib import Path

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    import numpy as np

    from hybridflow.data.images import load_images
    from hybridflow.io.run_folder import RunFolder
    from hybridflow.report.figures.image_panels import ImagePanel, draw_image_panels

    results, seed = Path(snakemake.output[0]).parents[1], settings.seeds[0]
    rows = max(2, min(10, snakemake.params.most // len(settings.variants)))
    columns = [load_images(RunFolder(results, name, seed).samples)[:rows] for name in settings.variants]
    panel = ImagePanel("", np.stack(columns, axis=1), dict(enumerate(settings.variants)))
    draw_image_panels(list(snakemake.output), [panel], scale=4)
