MODELS = [RunFolder(RESULTS, variant, seed) for variant, seed in SETTINGS.models]
WITH_LIKELIHOOD = [model for model in MODELS if SETTINGS.variants[model.variant].generator.has_likelihood]
# The records that every table is made of.
MEASURED = [
    *(model.likelihood for model in WITH_LIKELIHOOD),
    *(model.fidelity for model in MODELS),
    *expand(rules.measure_calibration.output.record, extractor=CALIBRATED),
]


rule build_table:
    input:
        MEASURED,
    output:
        csv=report(
            f"{RESULTS}/table1.csv", caption="../report/table1.rst", category="Table 1", labels={"content": "table"}
        ),
        md=f"{RESULTS}/table1.md",
        tex=f"{RESULTS}/table1.tex",
    log:
        f"{LOGS}/build_table.log",
    conda:
        "../envs/environment.yml"
    params:
        dataset=DATASET_HASH,
        small=SETTINGS.small,  # a note under the table
        printed=SETTINGS.evaluation.printed,
        references=[variant.reference and variant.reference.model_dump() for variant in SETTINGS.variants.values()],
    script:
        "../scripts/build_table.py"


rule draw_samples:
    input:
        samples=[RunFolder(RESULTS, variant, SETTINGS.seeds[0]).samples for variant in SETTINGS.variants],
        records=[RunFolder(RESULTS, variant, SETTINGS.seeds[0]).samples_record for variant in SETTINGS.variants],
    output:
        png=report(
            f"{RESULTS}/figures/samples.png",
            caption="../report/samples.rst",
            category="Figures",
            labels={"content": "samples"},
        ),
        pdf=f"{RESULTS}/figures/samples.pdf",
    log:
        f"{LOGS}/draw_samples.log",
    conda:
        "../envs/environment.yml"
    script:
        "../scripts/draw_samples.py"


rule build_frontier:
    input:
        table=rules.build_table.output.csv,
    output:
        csv=report(
            f"{RESULTS}/frontier.csv",
            caption="../report/frontier.rst",
            category="Table 1",
            labels={"content": "frontier"},
        ),
        md=f"{RESULTS}/frontier.md",
        png=report(
            f"{RESULTS}/figures/frontier.png",
            caption="../report/frontier.rst",
            category="Figures",
            labels={"content": "likelihood against quality"},
        ),
        pdf=f"{RESULTS}/figures/frontier.pdf",
    log:
        f"{LOGS}/build_frontier.log",
    conda:
        "../envs/environment.yml"
    params:
        variants=[repr(variant) for variant in SETTINGS.variants.values()],
        printed=SETTINGS.evaluation.printed,
    script:
        "../scripts/build_frontier.py"


rule build_calibration:
    input:
        MEASURED,
    output:
        csv=report(
            f"{RESULTS}/calibration.csv",
            caption="../report/calibration.rst",
            category="Details",
            labels={"content": "scale of the metrics"},
        ),
        png=report(
            f"{RESULTS}/figures/calibration.png",
            caption="../report/calibration.rst",
            category="Figures",
            labels={"content": "scale of the distances"},
        ),
        pdf=f"{RESULTS}/figures/calibration.pdf",
    log:
        f"{LOGS}/build_calibration.log",
    conda:
        "../envs/environment.yml"
    params:
        dataset=DATASET_HASH,
    script:
        "../scripts/build_calibration.py"


rule draw_training:
    input:
        histories=[model.history for model in MODELS],
        records=[model.checkpoint_record for model in MODELS],
    output:
        png=report(
            f"{RESULTS}/figures/training.png",
            caption="../report/training.rst",
            category="Figures",
            labels={"content": "training curves"},
        ),
        pdf=f"{RESULTS}/figures/training.pdf",
    log:
        f"{LOGS}/draw_training.log",
    conda:
        "../envs/environment.yml"
    script:
        "../scripts/draw_training.py"


rule build_details:
    input:
        MEASURED,
        bounds=[model.bounds for model in WITH_LIKELIHOOD],
        contributions=[model.contributions for model in MODELS],
        histories=[model.history for model in MODELS],
        records=[model.checkpoint_record for model in MODELS],
        provenance=f"{RESULTS}/provenance.json",
    output:
        md=f"{RESULTS}/details.md",
        differences=report(
            f"{RESULTS}/differences.csv",
            caption="../report/differences.rst",
            category="Details",
            labels={"content": "differences between variants"},
        ),
        classes=report(
            f"{RESULTS}/classes.csv",
            caption="../report/classes.rst",
            category="Details",
            labels={"content": "classes of the samples"},
        ),
        costs=report(
            f"{RESULTS}/costs.csv",
            caption="../report/costs.rst",
            category="Details",
            labels={"content": "costs of training"},
        ),
    log:
        f"{LOGS}/build_details.log",
    conda:
        "../envs/environment.yml"
    params:
        dataset=DATASET_HASH,
    script:
        "../scripts/build_details.py"


rule write_provenance:
    input:
        MEASURED,
        checkpoints=[model.checkpoint for model in MODELS],
        histories=[model.history for model in MODELS],
        records=[model.checkpoint_record for model in MODELS],
        samples=[model.samples_record for model in MODELS],
        table=rules.build_table.output.csv,  # last, so that every benchmark is there
    output:
        record=report(
            f"{RESULTS}/provenance.json",
            caption="../report/provenance.rst",
            category="Provenance",
            labels={"content": "how the results came to be"},
        ),
    log:
        f"{LOGS}/write_provenance.log",
    conda:
        "../envs/environment.yml"
    params:
        dataset=DATASET_HASH,
        benchmarks=BENCHMARKS,
    script:
        "../scripts/write_provenance.py"
