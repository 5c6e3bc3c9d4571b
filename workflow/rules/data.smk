rule prepare_dataset:
    output:
        train=f"{DATASET}/train.npy",
        test=f"{DATASET}/test.npy",
        labels=[f"{DATASET}/{split}_labels.npy" for split in ("train", "test") if SETTINGS.dataset.source == "cifar10"],
        manifest=f"{DATASET}/manifest.json",
    log:
        f"{LOGS}/prepare_dataset.log",
    benchmark:
        f"{BENCHMARKS}/prepare_dataset.tsv"
    conda:
        "../envs/environment.yml"
    params:
        dataset=DATASET_HASH,
        cache="resources/archives",
    script:
        "../scripts/prepare_dataset.py"


rule prepare_extractor:
    input:
        manifest=rules.prepare_dataset.output.manifest,
    output:
        weights=f"{RESULTS}/reference/{{extractor}}.weights",
        record=f"{RESULTS}/reference/{{extractor}}.json",
    log:
        f"{LOGS}/prepare_extractor/{{extractor}}.log",
    benchmark:
        f"{BENCHMARKS}/prepare_extractor/{{extractor}}.tsv"
    conda:
        "../envs/environment.yml"
    threads: SETTINGS.training.threads
    resources:
        gpu=extractor_gpus,
        mem_mb=computing_memory,
    params:
        device=SETTINGS.training.device,
        dataset=DATASET_HASH,
        identity=extractor_identity,
    script:
        "../scripts/prepare_extractor.py"
