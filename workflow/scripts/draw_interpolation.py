"""Draws the way from one test image to another through the latents of flows."""

from pathlib import Path

from hybridflow.jobs import torch_job

PAIRS, STEPS = 3, 9

with torch_job(snakemake, snakemake.params.device) as (settings, device):
    from hybridflow.data.images import load_images
    from hybridflow.evaluation.interpolation import interpolate
    from hybridflow.io.run_folder import RunFolder
    from hybridflow.models.checkpoint import load_recorded
    from hybridflow.report.figures.image_panels import ImagePanel, draw_image_panels

    results, seed = Path(snakemake.output[0]).parents[1], settings.seeds[0]
    test, panels = load_images(snakemake.input.test), []
    pairs = min(PAIRS, len(test) // 2)
    for variant in snakemake.params.variants:
        flow, _ = load_recorded(RunFolder(results, variant, seed).checkpoint, variant, seed, device)
        images = interpolate(flow, test[:pairs], test[pairs : 2 * pairs], STEPS, settings.sampling.seed)
        panels.append(ImagePanel(variant, images, {}))
    draw_image_panels(list(snakemake.output), panels)
