rule train_variant:
    input:
        images=rules.prepare_dataset.output.train,
        manifest=rules.prepare_dataset.output.manifest,
        parent=parent_checkpoint,
        parent_record=parent_record,
    output:
        checkpoint=f"{SEED_FOLDER}/checkpoint.safetensors",
        history=f"{SEED_FOLDER}/training.jsonl",
        record=f"{SEED_FOLDER}/checkpoint.json",
    log:
        f"{LOGS}/train_variant/{{variant}}-seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/train_variant/{{variant}}-seed{{seed}}.tsv"
    priority: 1  # what takes longest, and what others wait for, starts first
    conda:
        "../envs/environment.yml"
    threads: training_threads
    resources:
        gpu=training_gpus,
    params:
        device=lambda wildcards: variant_settings(wildcards).training.device,
        key=variant_key,
        dataset=DATASET_HASH,
    script:
        "../scripts/train_variant.py"


rule train_classifier:
    input:
        images=rules.prepare_dataset.output.train,
        manifest=rules.prepare_dataset.output.manifest,
        test=rules.prepare_dataset.output.test,
        labels=rules.prepare_dataset.output.labels,
    output:
        classifier=f"{RESULTS}/reference/classifier.safetensors",
        record=f"{RESULTS}/reference/classifier.json",
    log:
        f"{LOGS}/train_classifier.log",
    benchmark:
        f"{BENCHMARKS}/train_classifier.tsv"
    conda:
        "../envs/environment.yml"
    threads: SETTINGS.training.threads
    resources:
        gpu=gpus_claimed(SETTINGS.training.device),
    params:
        device=SETTINGS.training.device,
        dataset=DATASET_HASH,
        key=hf_store.classifier_entry(SETTINGS, DATASET_HASH).key,
    script:
        "../scripts/train_classifier.py"
