"""Makes an animation of the grids of samples that a training left."""

from pathlib import Path

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.io.run_folder import RunFolder
    from hybridflow.report.figures.animation import animate_training, training_grids

    results, seed = Path(snakemake.output[0]).parents[1], settings.seeds[0]
    folders = {name: Path(RunFolder(results, name, seed).folder) / "grids" for name in settings.variants}
    animate_training(snakemake.output[0], [(name, training_grids(folder)) for name, folder in folders.items()])
