# Settings, names and paths that the rules share. It holds no rule, and nothing imports torch.
import tempfile
from pathlib import Path

from hybridflow.cli.console import shorten_output
from hybridflow.config.evaluation import CALIBRATION_VERSION
from hybridflow.config.loading import parse_settings
from hybridflow.config.metrics import METRICS
from hybridflow.config.pictures import nearest_spaces
from hybridflow.store import entries as hf_store
from hybridflow.data.fingerprint import content_hash
from hybridflow.data.inputs import check_inputs
from hybridflow.runtime.devices import gpus_claimed
from hybridflow.io.files import check_room
from hybridflow.io.locks import claim_run
from hybridflow.io.records import record_of
from hybridflow.io.run_folder import RunFolder

try:
    SETTINGS = parse_settings(config)
    check_inputs(SETTINGS)
    DATASET_HASH = content_hash(SETTINGS.dataset, Path("resources/folder-fingerprint.json"))
    # Snakemake writes there before the first job
    for folder in (".snakemake", f"results/{SETTINGS.experiment}", tempfile.gettempdir()):
        check_room(folder)
except UserError as error:
    raise WorkflowError(str(error))

RESULTS = f"results/{SETTINGS.experiment}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
DATASET = "resources/cifar10"
if SETTINGS.dataset.source == "folder":
    DATASET = f"resources/{DATASET_HASH[:19]}"  # folder- and 12 digits
RUN = RunFolder(RESULTS, "{variant}", "{seed}")
EXTRACTORS = SETTINGS.evaluation.needed_extractors
TEMPERATURES = SETTINGS.further_temperatures
TEMPERED = RUN.at("{temperature}")
CALIBRATED = SETTINGS.evaluation.calibrated


wildcard_constraints:
    variant="|".join(map(re.escape, SETTINGS.variants)),
    seed="|".join(map(str, SETTINGS.seeds)),
    extractor="|".join(map(re.escape, EXTRACTORS)) or "none",
    split="train|test",
    temperature="|".join(map(re.escape, TEMPERATURES)) or "none",


def variant_settings(wildcards):
    """The resolved settings of a job's variant."""
    return SETTINGS.variants[wildcards.variant]


def variant_key(wildcards):
    """The training key of a job's variant and seed: a new one is a new training."""
    return hf_store.variant_entry(SETTINGS, wildcards.variant, int(wildcards.seed), DATASET_HASH).key


def parent_checkpoint(wildcards):
    """The checkpoint a variant starts from, or nothing."""
    parent = variant_settings(wildcards).init_from
    return [] if parent is None else RunFolder(RESULTS, parent, wildcards.seed).checkpoint


def parent_record(wildcards):
    """The record of the checkpoint a variant starts from, or nothing."""
    parent = parent_checkpoint(wildcards)
    return str(record_of(parent)) if parent else []


def training_ruler(wildcards):
    """What `training.distance` measures with: weights and reference moments with their records, or nothing."""
    extractor = variant_settings(wildcards).training.distance.extractor
    weights = f"{RESULTS}/reference/{extractor}"
    suffixes = (".weights", ".json", "-train.npz", "-train.json")
    return [] if extractor is None else [f"{weights}{suffix}" for suffix in suffixes]


def extractor_identity(wildcards):
    """Network and weights of a feature extractor: other ones are prepared again."""
    return SETTINGS.evaluation.extractors[wildcards.extractor].identity(DATASET_HASH)


def extractor_version(wildcards):
    """Version of a feature extractor's code."""
    return SETTINGS.evaluation.extractors[wildcards.extractor].version


def extractor_gpus(wildcards):
    """GPUs that preparing a feature extractor takes: only what is trained computes."""
    trained = SETTINGS.evaluation.extractors[wildcards.extractor].stored_as is not None
    return gpus_claimed(SETTINGS.training.device) if trained else 0


def metric_versions():
    """The chosen metrics with the versions of their code: another one measures again."""
    return {name: METRICS[name].version for name in SETTINGS.evaluation.metrics}


def run_folder(wildcards):
    """The files of a job's model, or of its samples at another temperature."""
    run = RunFolder(RESULTS, wildcards.variant, wildcards.seed)
    return run.at(wildcards.temperature) if "temperature" in wildcards.keys() else run


def sample_features(wildcards):
    """Features of a model's samples, and their records."""
    run = run_folder(wildcards)
    return [kind(name) for kind in (run.features, run.vectors, run.features_record) for name in EXTRACTORS]


def reference_features(wildcards):
    """Feature statistics of the dataset's images, and their records."""
    references = [f"{RESULTS}/reference/{name}-{split}" for name, split in SETTINGS.evaluation.references]
    return [f"{path}{suffix}" for path in references for suffix in (".npz", ".json")]


def vectors_of(references):
    """Feature vectors of the dataset's images, and their records, for (extractor, split)."""
    paths = [f"{RESULTS}/reference/{name}-{split}-features" for name, split in references]
    return [f"{path}{suffix}" for path in paths for suffix in (".npy", ".json")]


def reference_vectors(wildcards):
    """Those that metrics need."""
    return vectors_of(SETTINGS.evaluation.feature_references)


def train_vectors(wildcards):
    """Those of an extractor's training images."""
    needed = SETTINGS.evaluation.feature_references
    return vectors_of([reference for reference in needed if reference == (wildcards.extractor, "train")])


def variant_gpus(wildcards):
    """GPUs that a job which computes with a variant takes."""
    return gpus_claimed(variant_settings(wildcards).training.device)


def training_gpus(wildcards):
    """GPUs that the training of a variant takes."""
    training = variant_settings(wildcards).training
    return gpus_claimed(training.device, training.devices)


def training_threads(wildcards):
    """CPU threads of a variant's training: those of all its processes."""
    training = variant_settings(wildcards).training
    return training.threads * training.devices


def variant_threads(wildcards):
    """CPU threads of a job which computes with a variant."""
    return variant_settings(wildcards).training.threads


def computing_memory(wildcards):
    """Memory in MB that a scheduler reserves for a job which computes.

    The cpu preset's jobs took 1.1 GB at most (results/cpu/provenance.json); what full size needs is estimated.
    """
    return 4000 if SETTINGS.small else 24000


def first_models(variants):
    """Checkpoints of variants, and their records."""
    return [path for name in variants for path in (FIRST[name].checkpoint, FIRST[name].checkpoint_record)]


def first_samples(variants):
    """Samples of variants, and their records."""
    return [path for name in variants for path in (FIRST[name].samples, FIRST[name].samples_record)]


def pictures():
    """Those that the experiment's generators and metrics allow; none if they are switched off."""
    if not SETTINGS.evaluation.pictures:
        return []
    made = [rules.draw_variants.output, rules.animate_training.output]
    made += [rules.draw_nearest.output] if SPACES else []
    made += [rules.probe_likelihood.output] if LIKELY else []
    made += [rules.draw_interpolation.output, rules.measure_reconstruction.output] if INVERTIBLE else []
    return made


def check_device(missing):
    """Makes sure that trainings of a full-size experiment do not start on a CPU unless a setting says so.

    Raises:
        UserError: there is no GPU, and ``training.device`` is ``auto``.
    """
    undecided = any(variant.training.device == "auto" for variant in SETTINGS.variants.values())
    if SETTINGS.small or not undecided or not workflow.local_exec or not missing:
        return
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            f"experiment {SETTINGS.experiment!r} is of full size (`small: false`) and has {len(missing)} results to "
            "compute, but this machine has no GPU that PyTorch can use: what takes weeks on a GPU would take years. Try "
            "`--configfile presets/smoke.yaml` (minutes) or presets/cpu.yaml (hours) first; to compute it on the CPU "
            "nevertheless, set `training.device: cpu`."
        )


def begin_run():
    """Says what is stored; stops here if another run of the experiment is going on, or the device is unclear."""
    entries = list(hf_store.expected_entries(SETTINGS, DATASET_HASH))
    try:
        claim_run(SETTINGS.experiment)
        print(*hf_store.status_lines(entries), sep="\n", file=sys.stderr)
        check_device([entry for entry in entries if not entry.stored])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1)  # a WorkflowError would add where in the code it was raised
