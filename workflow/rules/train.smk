rule train_variant:
    input:
        images=rules.prepare_dataset.output.train,
        manifest=rules.prepare_dataset.output.manifest,
        parent=parent_checkpoint,
        parent_record=parent_record,
        ruler=training_ruler,
    output:
        checkpoint=RUN.checkpoint,
        history=RUN.history,
        record=RUN.checkpoint_record,
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
        mem_mb=computing_memory,
    params:
        device=lambda wildcards: variant_settings(wildcards).training.device,
        key=variant_key,
        dataset=DATASET_HASH,
    script:
        "../scripts/train_variant.py"
