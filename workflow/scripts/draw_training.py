"""Draws the training curves."""

from pathlib import Path

from hybridflow.jobs import workflow_job

with workflow_job(snakemake) as settings:
    from hybridflow.io.records import read_record
    from hybridflow.io.run_folder import RunFolder
    from hybridflow.report.figures.training_curves import TrainingCurve, draw_training_curves
    from hybridflow.report.recipes import recipes

    results, models = Path(snakemake.output.png).parents[1], []
    recipe_of = recipes(settings.variants)
    for name, seed in settings.models:
        files = RunFolder(results, name, seed)
        read_record(files.checkpoint_record, [Path(files.history).name])
        further = settings.variants[name].init_from is not None
        models.append(TrainingCurve(name, recipe_of[name], files.history, further))
    draw_training_curves(list(snakemake.output), models)
