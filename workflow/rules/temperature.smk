# The metrics of samples at other temperatures (evaluation.temperatures), of the first seed's models.
use rule sample_images as sample_temperature with:
    output:
        samples=temp(TEMPERED.samples),  # only what is measured on them stays
        record=TEMPERED.samples_record,
    log:
        f"{LOGS}/sample_temperature/{{variant}}-seed{{seed}}-{{temperature}}.log",
    benchmark:
        f"{BENCHMARKS}/sample_temperature/{{variant}}-seed{{seed}}-{{temperature}}.tsv"


use rule measure_samples as measure_temperature with:
    input:
        images=rules.sample_temperature.output.samples,
        samples_record=rules.sample_temperature.output.record,
        weights=rules.prepare_extractor.output.weights,
        weights_record=rules.prepare_extractor.output.record,
    output:
        moments=TEMPERED.features("{extractor}"),
        vectors=TEMPERED.vectors("{extractor}"),
        record=TEMPERED.features_record("{extractor}"),
    log:
        f"{LOGS}/measure_temperature/{{variant}}-seed{{seed}}-{{temperature}}-{{extractor}}.log",
    benchmark:
        f"{BENCHMARKS}/measure_temperature/{{variant}}-seed{{seed}}-{{temperature}}-{{extractor}}.tsv"


use rule evaluate_fidelity as evaluate_temperature with:
    input:
        samples=rules.sample_temperature.output.record,
        features=sample_features,
        references=reference_features,
        vectors=reference_vectors,
        extractors=expand(rules.prepare_extractor.output.record, extractor=EXTRACTORS),
        heads=expand(rules.prepare_extractor.output.weights, extractor=SETTINGS.evaluation.class_extractors),
    output:
        summary=TEMPERED.fidelity,
        contributions=TEMPERED.contributions,
    log:
        f"{LOGS}/evaluate_temperature/{{variant}}-seed{{seed}}-{{temperature}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_temperature/{{variant}}-seed{{seed}}-{{temperature}}.tsv"


rule build_temperature:
    input:
        own=expand(RUN.fidelity, variant=SETTINGS.variants, seed=SETTINGS.seeds[0]),
        further=expand(
            rules.evaluate_temperature.output.summary,
            variant=SETTINGS.variants,
            seed=SETTINGS.seeds[0],
            temperature=TEMPERATURES,
        ),
    output:
        csv=report(
            f"{RESULTS}/temperature.csv",
            caption="../report/temperature.rst",
            category="Details",
            labels={"content": "metrics against temperature"},
        ),
        png=report(
            f"{RESULTS}/figures/temperature.png",
            caption="../report/temperature.rst",
            category="Figures",
            labels={"content": "metrics against temperature"},
        ),
        pdf=f"{RESULTS}/figures/temperature.pdf",
    log:
        f"{LOGS}/build_temperature.log",
    conda:
        "../envs/environment.yml"
    params:
        printed=SETTINGS.evaluation.printed,
    script:
        "../scripts/build_temperature.py"
