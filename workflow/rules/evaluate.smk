rule evaluate_likelihood:
    input:
        checkpoint=rules.train_variant.output.checkpoint,
        record=rules.train_variant.output.record,
        manifest=rules.prepare_dataset.output.manifest,
        images=f"{DATASET}/{'test' if SETTINGS.evaluation.likelihood.split == 'test' else 'train'}.npy",
    output:
        summary=RUN.likelihood,
        bounds=RUN.bounds,
    log:
        f"{LOGS}/evaluate_likelihood/{{variant}}-seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_likelihood/{{variant}}-seed{{seed}}.tsv"
    conda:
        "../envs/environment.yml"
    threads: variant_threads
    resources:
        gpu=variant_gpus,
        mem_mb=computing_memory,
    params:
        device=lambda wildcards: variant_settings(wildcards).training.device,
        settings=SETTINGS.evaluation.likelihood.identity(),
    script:
        "../scripts/evaluate_likelihood.py"


rule sample_images:
    input:
        checkpoint=rules.train_variant.output.checkpoint,
        record=rules.train_variant.output.record,
    output:
        samples=RUN.samples,
        record=RUN.samples_record,
    log:
        f"{LOGS}/sample_images/{{variant}}-seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/sample_images/{{variant}}-seed{{seed}}.tsv"
    conda:
        "../envs/environment.yml"
    threads: variant_threads
    resources:
        gpu=variant_gpus,
        mem_mb=computing_memory,
    params:
        device=lambda wildcards: variant_settings(wildcards).training.device,
        settings=SETTINGS.sampling.identity(),
    script:
        "../scripts/sample_images.py"


rule measure_reference:
    input:
        images=f"{DATASET}/{{split}}.npy",
        manifest=rules.prepare_dataset.output.manifest,
        weights=rules.prepare_extractor.output.weights,
        weights_record=rules.prepare_extractor.output.record,
    output:
        moments=f"{RESULTS}/reference/{{extractor}}-{{split}}.npz",
        record=f"{RESULTS}/reference/{{extractor}}-{{split}}.json",
    log:
        f"{LOGS}/measure_reference/{{extractor}}-{{split}}.log",
    benchmark:
        f"{BENCHMARKS}/measure_reference/{{extractor}}-{{split}}.tsv"
    conda:
        "../envs/environment.yml"
    threads: SETTINGS.training.threads
    resources:
        gpu=gpus_claimed(SETTINGS.training.device),
        mem_mb=computing_memory,
    params:
        device=SETTINGS.training.device,
        dataset=DATASET_HASH,
        version=extractor_version,
    script:
        "../scripts/measure_features.py"


use rule measure_reference as measure_reference_vectors with:
    output:
        vectors=f"{RESULTS}/reference/{{extractor}}-{{split}}-features.npy",
        record=f"{RESULTS}/reference/{{extractor}}-{{split}}-features.json",
    log:
        f"{LOGS}/measure_reference_vectors/{{extractor}}-{{split}}.log",
    benchmark:
        f"{BENCHMARKS}/measure_reference_vectors/{{extractor}}-{{split}}.tsv"
    params:
        device=SETTINGS.training.device,
        dataset=DATASET_HASH,
        version=extractor_version,
        features=SETTINGS.evaluation.features,


rule measure_calibration:
    input:
        images=rules.prepare_dataset.output.test,
        train_images=rules.prepare_dataset.output.train,
        manifest=rules.prepare_dataset.output.manifest,
        weights=rules.prepare_extractor.output.weights,
        weights_record=rules.prepare_extractor.output.record,
        train=f"{RESULTS}/reference/{{extractor}}-train.npz",
        train_record=f"{RESULTS}/reference/{{extractor}}-train.json",
        vectors=train_vectors,
    output:
        record=f"{RESULTS}/reference/calibration-{{extractor}}.json",
    log:
        f"{LOGS}/measure_calibration/{{extractor}}.log",
    benchmark:
        f"{BENCHMARKS}/measure_calibration/{{extractor}}.tsv"
    conda:
        "../envs/environment.yml"
    threads: SETTINGS.training.threads
    resources:
        gpu=gpus_claimed(SETTINGS.training.device),
        mem_mb=computing_memory,
    params:
        device=SETTINGS.training.device,
        dataset=DATASET_HASH,
        version=CALIBRATION_VERSION,
        images=SETTINGS.sampling.images,
        metrics=metric_versions(),
        features=SETTINGS.evaluation.features,
    script:
        "../scripts/measure_calibration.py"


rule measure_samples:
    input:
        images=rules.sample_images.output.samples,
        samples_record=rules.sample_images.output.record,
        weights=rules.prepare_extractor.output.weights,
        weights_record=rules.prepare_extractor.output.record,
    output:
        moments=RUN.features("{extractor}"),
        vectors=RUN.vectors("{extractor}"),
        record=RUN.features_record("{extractor}"),
    log:
        f"{LOGS}/measure_samples/{{variant}}-seed{{seed}}-{{extractor}}.log",
    benchmark:
        f"{BENCHMARKS}/measure_samples/{{variant}}-seed{{seed}}-{{extractor}}.tsv"
    conda:
        "../envs/environment.yml"
    threads: variant_threads
    resources:
        gpu=variant_gpus,
        mem_mb=computing_memory,
    params:
        device=lambda wildcards: variant_settings(wildcards).training.device,
        version=extractor_version,
        features=SETTINGS.evaluation.features,
    script:
        "../scripts/measure_features.py"


rule evaluate_fidelity:
    input:
        samples=RUN.samples_record,
        features=sample_features,
        references=reference_features,
        vectors=reference_vectors,
        extractors=expand(rules.prepare_extractor.output.record, extractor=EXTRACTORS),
        heads=expand(rules.prepare_extractor.output.weights, extractor=SETTINGS.evaluation.class_extractors),
    output:
        summary=RUN.fidelity,
        contributions=RUN.contributions,
    log:
        f"{LOGS}/evaluate_fidelity/{{variant}}-seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_fidelity/{{variant}}-seed{{seed}}.tsv"
    conda:
        "../envs/environment.yml"
    threads: variant_threads
    resources:
        mem_mb=computing_memory,
    params:
        metrics=metric_versions(),
    script:
        "../scripts/evaluate_fidelity.py"
