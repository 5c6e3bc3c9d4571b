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


rule fetch_inception:
    output:
        weights="resources/inception/pt_inception-2015-12-05.pth",
    log:
        f"{LOGS}/fetch_inception.log",
    benchmark:
        f"{BENCHMARKS}/fetch_inception.tsv"
    conda:
        "../envs/environment.yml"
    params:
        source=str(getattr(SETTINGS.evaluation.extractors.get("inception"), "weights", None)),
    script:
        "../scripts/fetch_inception.py"
