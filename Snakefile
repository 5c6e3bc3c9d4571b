# The pipeline behind Table 1: CIFAR-10 -> trained variants -> samples and likelihoods -> table and figures.
#
#   snakemake --cores all --resources gpu=1                               the experiment at the paper's size
#   snakemake --cores all --configfile presets/smoke.yaml                 the same experiment in minutes
from snakemake.utils import min_version

min_version("9.20")


include: "workflow/rules/config.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/temperature.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/pictures.smk"
include: "workflow/rules/page.smk"


if workflow.is_main_process and not workflow.output_settings.verbose:
    shorten_output(workflow.logger_manager.logger, workflow.output_settings.dryrun)


report: "workflow/report/workflow.rst"


onstart:
    begin_run()


rule all:
    default_target: True
    input:
        rules.build_table.output,
        rules.draw_samples.output,
        rules.build_frontier.output,
        rules.build_temperature.output if TEMPERATURES else [],
        rules.build_calibration.output,
        rules.draw_training.output,
        rules.build_details.output,
        rules.build_page.output,
        rules.write_provenance.output,
        pictures(),
