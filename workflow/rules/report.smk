rule build_table:
    input:
        likelihoods=seed_files("likelihood.json"),
        fidelities=seed_files("fidelity.json"),
        calibrations=expand(rules.measure_calibration.output.record, extractor=CALIBRATED),
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
        checkpoints=every_key(),
        small=SETTINGS.small,  # a note under the table
    script:
        "../scripts/build_table.py"


rule draw_samples:
    input:
        samples=seed_files("samples.npy"),
        records=seed_files("samples.json"),
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


rule draw_tradeoff:
    input:
        table=rules.build_table.output.csv,
    output:
        png=report(
            f"{RESULTS}/figures/tradeoff.png",
            caption="../report/tradeoff.rst",
            category="Figures",
            labels={"content": "likelihood against quality"},
        ),
        pdf=f"{RESULTS}/figures/tradeoff.pdf",
    log:
        f"{LOGS}/draw_tradeoff.log",
    conda:
        "../envs/environment.yml"
    script:
        "../scripts/draw_tradeoff.py"


rule draw_training:
    input:
        histories=seed_files("training.jsonl"),
        records=seed_files("checkpoint.json"),
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
        likelihoods=seed_files("likelihood.json"),
        bounds=seed_files("likelihood.npy"),
        fidelities=seed_files("fidelity.json"),
        checkpoints=seed_files("checkpoint.safetensors"),
        histories=seed_files("training.jsonl"),
        records=seed_files("checkpoint.json"),
        calibrations=expand(rules.measure_calibration.output.record, extractor=CALIBRATED),
        provenance=f"{RESULTS}/provenance.json",
    output:
        md=f"{RESULTS}/details.md",
        html=report(
            f"{RESULTS}/details.html",
            caption="../report/details.rst",
            category="Details",
            labels={"content": "all details"},
        ),
        paired=report(
            f"{RESULTS}/paired_bpd.csv",
            caption="../report/paired_bpd.rst",
            category="Details",
            labels={"content": "paired differences"},
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
    script:
        "../scripts/build_details.py"


rule write_provenance:
    input:
        table=rules.build_table.output.csv,
        checkpoints=seed_files("checkpoint.safetensors"),
        histories=seed_files("training.jsonl"),
        records=seed_files("checkpoint.json"),
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
        benchmarks=BENCHMARKS,
    script:
        "../scripts/write_provenance.py"
