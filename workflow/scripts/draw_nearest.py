"""Draws the training images that are nearest to the first samples of every variant, in one or two feature spaces."""

from pathlib import Path

from hybridflow.jobs import workflow_job

SAMPLES, NEAREST = 3, 2  # of every variant; of every sample and space

with workflow_job(snakemake) as settings:
    import numpy as np

    from hybridflow.data.images import load_images
    from hybridflow.evaluation.metrics.features import load_vectors
    from hybridflow.evaluation.nearest import nearest
    from hybridflow.io.run_folder import RunFolder
    from hybridflow.report.figures.image_panels import ImagePanel, draw_image_panels

    results, seed, spaces = Path(snakemake.output[0]).parents[1], settings.seeds[0], snakemake.params.spaces
    train = load_images(snakemake.input.train)
    references = {name: load_vectors(results / "reference" / f"{name}-train-features.npy")[0] for name in spaces}
    headings = {0: "sample"} | {1 + NEAREST * i: name for i, name in enumerate(spaces)}
    panels = []
    for variant in snakemake.params.variants:
        run = RunFolder(results, variant, seed)
        columns = [load_images(run.samples)[:SAMPLES][:, None]]
        for name in spaces:
            vectors, _ = load_vectors(run.vectors(name))
            columns.append(train[nearest(vectors[:SAMPLES], references[name], NEAREST)])
        panels.append(ImagePanel(variant, np.concatenate(columns, axis=1), headings))
    draw_image_panels(list(snakemake.output), panels, across=2)
