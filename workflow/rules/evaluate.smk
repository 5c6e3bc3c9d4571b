rule evaluate_likelihood:
    input:
        checkpoint=rules.train_variant.output.checkpoint,
        record=rules.train_variant.output.record,
        manifest=rules.prepare_dataset.output.manifest,
        images=f"{DATASET}/{'test' if SETTINGS.evaluation.likelihood.split == 'test' else 'train'}.npy",
    output:
        summary=f"{SEED_FOLDER}/likelihood.json",
        bounds=f"{SEED_FOLDER}/likelihood.npy",
    log:
        f"{LOGS}/evaluate_likelihood/{{variant}}-seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_likelihood/{{variant}}-seed{{seed}}.tsv"
    conda:
        "../envs/environment.yml"
    threads: SETTINGS.training.threads
    resources:
        gpu=variant_gpus,
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
        samples=f"{SEED_FOLDER}/samples.npy",
        record=f"{SEED_FOLDER}/samples.json",
    log:
        f"{LOGS}/sample_images/{{variant}}-seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/sample_images/{{variant}}-seed{{seed}}.tsv"
    conda:
        "../envs/environment.yml"
    threads: SETTINGS.training.threads
    resources:
        gpu=variant_gpus,
    params:
        device=lambda wildcards: variant_settings(wildcards).training.device,
        settings=SETTINGS.sampling.identity(),
    script:
        "../scripts/sample_images.py"


use rule sample_images as sample_repeat with:
    output:
        samples=temp(f"{SEED_FOLDER}/repeats/{{repeat}}/samples.npy"),  # only their features are needed
        record=f"{SEED_FOLDER}/repeats/{{repeat}}/samples.json",
    log:
        f"{LOGS}/sample_repeat/{{variant}}-seed{{seed}}-{{repeat}}.log",
    benchmark:
        f"{BENCHMARKS}/sample_repeat/{{variant}}-seed{{seed}}-{{repeat}}.tsv"


rule measure_reference:
    input:
        images=f"{DATASET}/{{split}}.npy",
        manifest=rules.prepare_dataset.output.manifest,
        weights=extractor_weights,
        weights_record=extractor_record,
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
    params:
        device=SETTINGS.training.device,
        dataset=DATASET_HASH,
        batch_size=extractor_batch,
    script:
        "../scripts/measure_moments.py"


rule measure_ruler:
    input:
        images=rules.prepare_dataset.output.test,
        manifest=rules.prepare_dataset.output.manifest,
        classifier=rules.train_classifier.output.classifier,
        classifier_record=rules.train_classifier.output.record,
        train=f"{RESULTS}/reference/cifar_classifier-train.npz",
        test=f"{RESULTS}/reference/cifar_classifier-test.npz",
        records=[f"{RESULTS}/reference/cifar_classifier-{split}.json" for split in ("train", "test")],
    output:
        ruler=f"{RESULTS}/reference/ruler.json",
        rows=f"{RESULTS}/reference/ruler.csv",
    log:
        f"{LOGS}/measure_ruler.log",
    benchmark:
        f"{BENCHMARKS}/measure_ruler.tsv"
    conda:
        "../envs/environment.yml"
    threads: SETTINGS.training.threads
    resources:
        gpu=gpus_claimed(SETTINGS.training.device),
    params:
        device=SETTINGS.training.device,
        images=SETTINGS.sampling.images,
    script:
        "../scripts/measure_ruler.py"


rule measure_samples:
    input:
        images=rules.sample_images.output.samples,
        note=rules.sample_images.output.record,
        weights=extractor_weights,
        weights_record=extractor_record,
    output:
        moments=f"{SEED_FOLDER}/features/{{extractor}}.npz",
        record=f"{SEED_FOLDER}/features/{{extractor}}.json",
    log:
        f"{LOGS}/measure_samples/{{variant}}-seed{{seed}}-{{extractor}}.log",
    benchmark:
        f"{BENCHMARKS}/measure_samples/{{variant}}-seed{{seed}}-{{extractor}}.tsv"
    conda:
        "../envs/environment.yml"
    threads: SETTINGS.training.threads
    resources:
        gpu=variant_gpus,
    params:
        device=lambda wildcards: variant_settings(wildcards).training.device,
        batch_size=extractor_batch,
    script:
        "../scripts/measure_moments.py"


use rule measure_samples as measure_repeat with:
    input:
        images=rules.sample_repeat.output.samples,
        note=rules.sample_repeat.output.record,
        weights=extractor_weights,
        weights_record=extractor_record,
    output:
        moments=f"{SEED_FOLDER}/repeats/{{repeat}}/features/{{extractor}}.npz",
        record=f"{SEED_FOLDER}/repeats/{{repeat}}/features/{{extractor}}.json",
    log:
        f"{LOGS}/measure_repeat/{{variant}}-seed{{seed}}-{{repeat}}-{{extractor}}.log",
    benchmark:
        f"{BENCHMARKS}/measure_repeat/{{variant}}-seed{{seed}}-{{repeat}}-{{extractor}}.tsv"


rule evaluate_fidelity:
    input:
        notes=sample_notes,
        samples=sample_moments,
        references=reference_moments,
        records=moments_records,
        classifier=rules.train_classifier.output.classifier if "cifar_classifier" in EXTRACTORS else [],
        classifier_record=rules.train_classifier.output.record if "cifar_classifier" in EXTRACTORS else [],
    output:
        summary=f"{SEED_FOLDER}/fidelity.json",
    log:
        f"{LOGS}/evaluate_fidelity/{{variant}}-seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate_fidelity/{{variant}}-seed{{seed}}.tsv"
    conda:
        "../envs/environment.yml"
    script:
        "../scripts/evaluate_fidelity.py"
