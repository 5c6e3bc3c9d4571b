"""Draws the training curves."""

from pathlib import Path

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.io.records import read_record
    from hybridflow.io.run_folder import RunFolder
    from hybridflow.report.figures.training_curves import draw_training_curves

    results, histories = Path(snakemake.output.png).parents[1], []
    for name, seed in settings.models:
        files = RunFolder(results, name, seed)
        read_record(files.checkpoint_record, [Path(files.history).name])
        histories.append((f"{name}, seed {seed}" if len(settings.seeds) > 1 else name, files.history))
    draw_training_curves(list(snakemake.output), histories)
