# The report page, from everything else. Words are for those who do not see a picture.
PAGE_FIGURES = {
    rules.draw_samples.output.png: "Samples of every variant",
    rules.draw_training.output.png: "Training curves of every model against the images seen",
    rules.build_calibration.output.png: "Distances of test images against the strength of a corruption and their number",
}
if TEMPERATURES:
    PAGE_FIGURES[rules.build_temperature.output.png] = "Metrics against the temperature of the samples"
if SETTINGS.evaluation.pictures:
    PAGE_FIGURES[rules.draw_variants.output[0]] = "All variants side by side, a row from the same latents"
    if SPACES:
        PAGE_FIGURES[rules.draw_nearest.output[0]] = "Samples beside the training images nearest to them"
    if LIKELY:
        PAGE_FIGURES[rules.probe_likelihood.output.png] = (
            "Bits per dimension of training, test, flipped, noise, constant and smoothed images"
        )
    if INVERTIBLE:
        PAGE_FIGURES[rules.draw_interpolation.output[0]] = "Test images, and images between them in latent space"
    PAGE_FIGURES[rules.animate_training.output[0]] = "Samples during training, always from the same latents"


rule build_page:
    input:
        MEASURED,
        table=rules.build_table.output.csv,
        frontier=rules.build_frontier.output.csv,
        samples=[RunFolder(RESULTS, variant, SETTINGS.seeds[0]).samples for variant in SETTINGS.variants],
        figures=list(PAGE_FIGURES),
        details=rules.build_details.output.md,
        provenance=rules.write_provenance.output.record,
    output:
        html=report(
            f"{RESULTS}/report.html",
            caption="../report/page.rst",
            category="Report",
            labels={"content": "the report page"},
        ),
    log:
        f"{LOGS}/build_page.log",
    conda:
        "../envs/environment.yml"
    params:
        dataset=DATASET_HASH,
        captions=list(PAGE_FIGURES.values()),
        printed=SETTINGS.evaluation.printed,
    script:
        "../scripts/build_page.py"
