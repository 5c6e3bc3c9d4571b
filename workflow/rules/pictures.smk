# Pictures of the first seed of every variant, and what a flow says of images; none enters the table.
FIRST = {variant: RunFolder(RESULTS, variant, SETTINGS.seeds[0]) for variant in SETTINGS.variants}
FAMILIES = {variant: entry.generator for variant, entry in SETTINGS.variants.items()}
LIKELY = [variant for variant in SETTINGS.variants if FAMILIES[variant].has_likelihood]
INVERTIBLE = [variant for variant in SETTINGS.variants if FAMILIES[variant].invertible]
FIRST_OF = {
    (FAMILIES[variant].family, SETTINGS.variants[variant].adversarial_weight): variant
    for variant in reversed(INVERTIBLE)
}
INTERPOLATED = sorted(FIRST_OF.values(), key=INVERTIBLE.index)[:4]  # of each family and weight
SPACES = nearest_spaces(SETTINGS.evaluation)


rule draw_variants:
    input:
        samples=first_samples(FIRST),
    output:
        report(
            f"{RESULTS}/pictures/variants.png",
            caption="../report/variants.rst",
            category="Pictures",
            labels={"content": "all variants from the same latents"},
        ),
    log:
        f"{LOGS}/draw_variants.log",
    conda:
        "../envs/environment.yml"
    params:
        most=100,  # images: a picture has 400 kB at most
    script:
        "../scripts/draw_variants.py"


rule draw_nearest:
    input:
        samples=first_samples(list(FIRST)[:6]),
        features=[
            path
            for run in list(FIRST.values())[:6]
            for space in SPACES
            for path in (run.vectors(space), run.features_record(space))
        ],
        train=rules.prepare_dataset.output.train,
        manifest=rules.prepare_dataset.output.manifest,
        vectors=vectors_of([(space, "train") for space in SPACES]),
    output:
        report(
            f"{RESULTS}/pictures/nearest.png",
            caption="../report/nearest.rst",
            category="Pictures",
            labels={"content": "nearest training images"},
        ),
    log:
        f"{LOGS}/draw_nearest.log",
    conda:
        "../envs/environment.yml"
    params:
        variants=list(FIRST)[:6],
        spaces=SPACES,
    script:
        "../scripts/draw_nearest.py"


rule probe_likelihood:
    input:
        models=first_models(LIKELY),
        train=rules.prepare_dataset.output.train,
        test=rules.prepare_dataset.output.test,
        manifest=rules.prepare_dataset.output.manifest,
    output:
        csv=report(
            f"{RESULTS}/pictures/likelihood_of_images.csv",
            caption="../report/likelihood_of_images.rst",
            category="Pictures",
            labels={"content": "likelihood of other images: numbers"},
        ),
        png=report(
            f"{RESULTS}/pictures/likelihood_of_images.png",
            caption="../report/likelihood_of_images.rst",
            category="Pictures",
            labels={"content": "likelihood of other images"},
        ),
    log:
        f"{LOGS}/probe_likelihood.log",
    conda:
        "../envs/environment.yml"
    threads: SETTINGS.training.threads
    resources:
        gpu=gpus_claimed(SETTINGS.training.device),
        mem_mb=computing_memory,
    params:
        device=SETTINGS.training.device,
        variants=LIKELY,
        seed=SETTINGS.evaluation.likelihood.seed,
    script:
        "../scripts/probe_likelihood.py"


rule draw_interpolation:
    input:
        models=first_models(INTERPOLATED),
        test=rules.prepare_dataset.output.test,
        manifest=rules.prepare_dataset.output.manifest,
    output:
        report(
            f"{RESULTS}/pictures/interpolation.png",
            caption="../report/interpolation.rst",
            category="Pictures",
            labels={"content": "between two images"},
        ),
    log:
        f"{LOGS}/draw_interpolation.log",
    conda:
        "../envs/environment.yml"
    threads: SETTINGS.training.threads
    resources:
        gpu=gpus_claimed(SETTINGS.training.device),
        mem_mb=computing_memory,
    params:
        device=SETTINGS.training.device,
        variants=INTERPOLATED,
    script:
        "../scripts/draw_interpolation.py"


rule measure_reconstruction:
    input:
        models=first_models(INVERTIBLE),
        test=rules.prepare_dataset.output.test,
        manifest=rules.prepare_dataset.output.manifest,
    output:
        report(
            f"{RESULTS}/pictures/reconstruction.csv",
            caption="../report/reconstruction.rst",
            category="Pictures",
            labels={"content": "reconstruction error"},
        ),
    log:
        f"{LOGS}/measure_reconstruction.log",
    conda:
        "../envs/environment.yml"
    threads: SETTINGS.training.threads
    resources:
        gpu=gpus_claimed(SETTINGS.training.device),
        mem_mb=computing_memory,
    params:
        device=SETTINGS.training.device,
        variants=INVERTIBLE,
    script:
        "../scripts/measure_reconstruction.py"


rule animate_training:
    input:
        models=[run.checkpoint_record for run in FIRST.values()],
    output:
        report(
            f"{RESULTS}/pictures/training.gif",
            caption="../report/animation.rst",
            category="Pictures",
            labels={"content": "samples during training"},
        ),
    log:
        f"{LOGS}/animate_training.log",
    conda:
        "../envs/environment.yml"
    script:
        "../scripts/animate_training.py"
