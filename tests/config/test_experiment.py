"""The experiment's settings: what is accepted, and the sentence for what is not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hybridflow.config.generators import DenseFlowSettings
from hybridflow.config.loading import load_settings, parse_settings
from hybridflow.config.schema import json_schema
from hybridflow.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
BASE: dict[str, Any] = {
    "experiment": "test",
    "discriminators": {"dcgan": {"kind": "dcgan", "width": 8}},
    "variants": {"baseline": {}},
}


def merged(base: dict, over: dict) -> dict:
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def variant(**entry: Any) -> dict:
    return {"variants": {"b": entry}}


def training(**values: Any) -> dict:
    return {"training": values}


MAPPING = "but it must be a mapping of settings."
PATTERN = "but it must start with a letter or digit and hold only letters, digits, '.', '_' and '-' (64 at most)."
RESERVED = "but it is taken by a folder of the results (reference, figures, logs, benchmarks, tensorboard)."

SENTENCES: list[tuple[dict, str]] = [
    # unknown keys
    ({"trainig": {}}, "`trainig` is not a setting; did you mean `training`? (known: experiment, small, dataset, "),
    (training(batchsize=3), "`training.batchsize` is not a setting; did you mean `batch_size`? (known: batch_size, "),
    ({"flow": {"coupling": {"deph": 3}}}, "`flow.coupling.deph` is not a setting; did you mean `depth`? (known: mid_"),
    (
        {"discriminators": {"dcgan": {"widht": 3}}},
        "`discriminators.dcgan.widht` is not a setting; did you mean `width`?",
    ),
    (variant(weight=1), "`variants.b.weight` is not a setting (known: discriminator, adversarial_weight, init_from, "),
    (training(a=1, b=2), "resume_every_minutes) (1 more after this one)."),
    # missing
    ({"discriminators": {"x": {"kind": "dcgan"}}}, "`discriminators.x.width` is missing."),
    # types
    (training(batch_size=3.5), "`training.batch_size` is 3.5, but it must be a whole number."),
    (training(batch_size="3"), "`training.batch_size` is '3', but it must be a whole number."),
    (training(batch_size=True), "`training.batch_size` is true, but it must be a whole number."),
    (training(batch_size=None), "`training.batch_size` is null, but it must be a whole number."),
    (training(adaptive_weight=1), "`training.adaptive_weight` is 1, but it must be true or false."),
    (
        {"flow": {"coupling": {"shift_bound": "wide"}}},
        "`flow.coupling.shift_bound` is 'wide', but it must be a number.",
    ),
    (
        {"discriminators": {"dcgan": {"spectral_norm": 1}}},
        "`discriminators.dcgan.spectral_norm` is 1, but it must be true or false.",
    ),
    (training(epochs="many"), "`training.epochs` is 'many', but it must be a number."),
    (training(epochs=True), "`training.epochs` is true, but it must be a number."),
    (training(epochs=[1]), "`training.epochs` is [1], but it must be a number."),
    (training(epochs=None), "`training.epochs` is null, but it must be a number."),
    (training(epochs=float("nan")), "`training.epochs` is nan, but it must be finite."),
    (training(epochs=".inf"[1:]), "`training.epochs` is 'inf', but it must be finite."),
    (training(augmentation={"horizontal_flip": "yes"}), "horizontal_flip` is 'yes', but it must be true or false."),
    (training(augmentation={"horizontal_flip": 1}), "horizontal_flip` is 1, but it must be true or false."),
    ({"experiment": 3}, "`experiment` is 3, but it must be text."),
    ({"dataset": {"archive": 3}}, "`dataset.archive` is 3, but it must be text."),
    ({"flow": {"units": 5}}, "`flow.units` is 5, but it must be a list."),
    ({"flow": {"units": [1, "a"]}}, "`flow.units.1` is 'a', but it must be a whole number."),
    ({"seeds": 3}, "`seeds` is 3, but it must be a list."),
    ({"seeds": []}, "`seeds` is [], but it must have at least 1 entry."),
    (training(optimizer={"betas": 0.9}), "`training.optimizer.betas` is 0.9, but it must be a list."),
    (training(optimizer={"betas": [0.9] * 3}), "betas` is [0.9, 0.9, 0.9], but it must have at most 2 entries."),
    ({"training": None}, f"`training` is null, {MAPPING}"),
    ({"training": [1]}, f"`training` is [1], {MAPPING}"),
    ({"evaluation": {"fid": 3}}, f"`evaluation.fid` is 3, {MAPPING}"),
    ({"discriminators": {"x": 3}}, f"`discriminators.x` is 3, {MAPPING}"),
    ({"discriminators": None}, "`discriminators` is null, but it must be a mapping."),
    ({"variants": [1]}, "`variants` is [1], but it must be a mapping."),
    (variant(training=3), "`variants.b.training` is 3, but it must be a mapping."),
    ({"variants": {3: {}}}, "`variants.3` is 3, but it must be text."),
    (
        {"experiment": {"x" * 30: "y" * 30}},
        "`experiment` is {'" + "x" * 30 + "': '" + "y" * 21 + "..., but it must be text.",
    ),
    # ranges
    ({"evaluation": {"likelihood": {"memory_gb": 0}}}, "likelihood.memory_gb` is 0, but it must be greater than 0."),
    (training(batch_size=0), "`training.batch_size` is 0, but it must be at least 1."),
    (training(lr_decay=2), "`training.lr_decay` is 2, but it must be at most 1."),
    (training(ema_decay=1), "`training.ema_decay` is 1, but it must be less than 1."),
    (training(gradient_clip=0), "`training.gradient_clip` is 0, but it must be greater than 0."),
    (training(gradient_penalty=0), "`training.gradient_penalty` is 0, but it must be greater than 0."),
    (training(max_sample_magnitude=0.5), "`training.max_sample_magnitude` is 0.5, but it must be greater than 0.5."),
    ({"flow": {"prior_bound": 0}}, "`flow.prior_bound` is 0, but it must be greater than 0."),
    ({"flow": {"coupling": {"log_scale_bound": -1}}}, "log_scale_bound` is -1, but it must be greater than 0."),
    (training(optimizer={"betas": [0.9, 1]}), "`training.optimizer.betas.1` is 1, but it must be less than 1."),
    (training(augmentation={"pad": 17}), "`training.augmentation.pad` is 17, but it must be at most 16."),
    (variant(adversarial_weight=1.5), "`variants.b.adversarial_weight` is 1.5, but it must be at most 1."),
    ({"seeds": [-1]}, "`seeds.0` is -1, but it must be at least 0."),
    ({"seeds": [1, 1]}, "seeds must differ from each other, got [1, 1]."),
    # choices
    (
        training(optimizer={"name": "adma"}),
        "'adma', but it must be 'adam', 'adamax' or 'adamw' (did you mean 'adamax'?).",
    ),
    (training(optimizer={"name": 3}), "`training.optimizer.name` is 3, but it must be 'adam', 'adamax' or 'adamw'."),
    (
        training(precision="bf61"),
        "`training.precision` is 'bf61', but it must be 'fp32' or 'bf16' (did you mean 'bf16'?)",
    ),
    # rules about several settings
    ({"flow": {"units": []}}, "`flow`: units must have 1 to 4 entries, one per scale, not 0 (32x32 images)."),
    ({"flow": {"units": [1] * 5}}, "`flow`: units must have 1 to 4 entries, one per scale, not 5 (32x32 images)."),
    ({"flow": {"units": [1, 2]}}, "`flow`: steps_per_unit must have one entry per scale: 2 as in units, not 3."),
    (
        {"flow": {"coupling": {"mid_channels": [8]}}},
        "`flow`: coupling.mid_channels must have one entry per scale: 3 as",
    ),
    ({"flow": {"growth_rate": 0}}, "`flow`: growth_rate must be at least 1 when a scale has more than one unit."),
    (training(batch_size=64, devices=3), "`training`: batch_size must be a multiple of devices, so that each gets"),
    (
        training(devices=2, gradient_penalty=1.0),
        "`training`: gradient_penalty needs second derivatives, which BatchNorm over several devices does not have; "
        "set devices to 1",
    ),
    (training(devices=0), "`training.devices` is 0, but it must be at least 1."),
    (variant(training={"batch_size": 9, "devices": 2}), "`variants.b.training`: batch_size must be a multiple of"),
    (training(batch_size=64, devices=3), "equally many images: 64 is not one of 3."),
    ({"dataset": {"source": "folder"}}, "`dataset`: folder must name a directory with train/ and test/ when source is"),
    (
        {"dataset": {"source": "folder", "folder": "x"}},
        "evaluation.fd_cifar.enabled must be false when dataset.source is 'folder': its classifier",
    ),
    (
        {"evaluation": {"likelihood": {"split": "holdout"}}},
        "evaluation.likelihood.split is 'holdout', but dataset.holdout keeps no images back; set it to 2 or more.",
    ),
    # names
    ({"experiment": "logs"}, f"`experiment` is 'logs', {RESERVED}"),
    ({"experiment": ""}, f"`experiment` is '', {PATTERN}"),
    ({"variants": {"figures": {}}}, f"`variants.figures` is 'figures', {RESERVED}"),
    ({"variants": {"a b": {}}}, f"`variants.a b` is 'a b', {PATTERN}"),
    ({"variants": {"../a": {}}}, f"is '../a', {PATTERN}"),
    ({"variants": {"a" * 65: {}}}, PATTERN),
    ({"discriminators": {".x": {"kind": "dcgan", "width": 3}}}, f"is '.x', {PATTERN}"),
    # variants
    (
        variant(discriminator="dgcan", adversarial_weight=0.5),
        "`variants.b.discriminator` is 'dgcan', which is not defined under `discriminators`; did you mean `dcgan`? "
        "(known: dcgan).",
    ),
    (
        {"discriminators": {}} | variant(discriminator="zzz", adversarial_weight=0.5),
        "`variants.b.discriminator` is 'zzz', which is not defined under `discriminators` (known: dcgan).",
    ),
    (
        variant(discriminator="dcgan"),
        "`variants.b` has discriminator 'dcgan' but adversarial_weight 0; give it a weight above 0, or remove the "
        "discriminator.",
    ),
    (
        variant(adversarial_weight=0.5),
        "`variants.b` has adversarial_weight 0.5 but no discriminator; name one, or set the weight to 0.",
    ),
    (
        training(adaptive_weight=True) | variant(discriminator="dcgan", adversarial_weight=1),
        "`variants.b` has adversarial_weight 1, so there is no likelihood gradient for training.adaptive_weight to "
        "measure the other by; set it to false there, or lower the weight.",
    ),
    (
        variant(init_from="baseline", flow={"coupling": {"shift_bound": 2.0}}),
        "`variants.b.flow` differs from that of `init_from: baseline`; a variant can start only from a checkpoint of "
        "the same architecture.",
    ),
    (
        variant(init_from="basline"),
        "`variants.b.init_from` is 'basline', which is not a variant; did you mean `baseline`? (known: baseline, b).",
    ),
    (variant(init_from="b"), "`variants.b.init_from` leads back to 'b'; remove the circle."),
    (
        {"variants": {"b": {"init_from": "c"}, "c": {"init_from": "b"}}},
        "`variants.b.init_from` leads back to 'b'; remove the circle.",
    ),
    (
        {"variants": {"a": {"init_from": "b"}, "b": {"init_from": "c"}, "c": {"init_from": "b"}}},
        "leads back to 'b'; remove the circle.",
    ),
    (
        variant(init_from="baseline", flow={"growth_rate": 3}),
        "`variants.b.flow` differs from that of `init_from: baseline`; a variant can start only from a checkpoint of "
        "the same architecture.",
    ),
    (variant(training={"epoch": 3}), "`variants.b.training.epoch` is not a setting; did you mean `epochs`?"),
    (
        variant(training={"optimizer": {"lr": 0}}),
        "`variants.b.training.optimizer.lr` is 0, but it must be greater than 0.",
    ),
    (
        variant(flow={"units": [1]}),
        "`variants.b.flow`: steps_per_unit must have one entry per scale: 1 as in units, not 3.",
    ),
]


@pytest.mark.parametrize(("over", "sentence"), SENTENCES, ids=range(len(SENTENCES)))
def test_sentences(over, sentence):
    with pytest.raises(UserError) as error:
        parse_settings(merged(BASE, over))
    message = str(error.value)
    assert message.startswith("config: ")
    assert sentence in message
    assert message.endswith(".")
    assert "\n" not in message
    for foreign in ("dictionary", "instance", "tuple", "Input", "validation", "None", "Value error"):
        assert foreign not in message


@pytest.mark.parametrize(("config", "shown"), [(3, "3"), (None, "null"), ([], "[]")])
def test_a_configuration_is_a_mapping(config, shown):
    with pytest.raises(
        UserError, match=rf"config: it is {shown.replace('[', chr(92) + '[')}, but it must be a mapping"
    ):
        parse_settings(config)


def test_required_settings():
    with pytest.raises(UserError, match=r"`experiment` is missing \(1 more after this one\)"):
        parse_settings({})
    for empty in ({}, {"baseline": None}):
        with pytest.raises(UserError, match=r"`variants` is \{\}, but it must have at least 1 entry"):
            parse_settings({"experiment": "x", "variants": empty})


# --- what is accepted -------------------------------------------------------------------------------------------------


def test_numbers_without_a_dot_are_numbers():
    # YAML 1.1 reads 1e-3 as text.
    assert yaml.safe_load("1e-3") == "1e-3"
    settings = parse_settings(merged(BASE, training(optimizer={"lr": "1e-3", "betas": ["5e-1", 0.9]}, epochs=3)))
    assert settings.training.optimizer.lr == 1e-3
    assert settings.training.optimizer.betas == (0.5, 0.9)
    assert settings.training.epochs == 3.0


def test_null_variants_are_dropped():
    settings = parse_settings(merged(BASE, {"variants": {"baseline": None, "b": {}}}))
    assert list(settings.variants) == ["b"]
    with pytest.raises(UserError, match="init_from` is 'baseline', which is not a variant"):
        parse_settings(merged(BASE, {"variants": {"baseline": None, "b": {"init_from": "baseline"}}}))


def test_overrides_reach_deep_and_no_further():
    over = training(optimizer={"lr": 0.25, "weight_decay": 0.125}) | variant(
        training={"optimizer": {"lr": 0.5}, "final_phase": {"epochs": 0}}, flow={"coupling": {"depth": 3}}
    )
    settings = parse_settings(merged(BASE, over))
    changed, base = settings.variants["b"], settings.variants["baseline"]
    assert (changed.training.optimizer.lr, base.training.optimizer.lr) == (0.5, 0.25)
    assert changed.training.optimizer.weight_decay == 0.125
    assert changed.training.final_phase.epochs == 0
    assert changed.training.final_phase.lr == base.training.final_phase.lr
    assert changed.flow.coupling.depth == 3
    assert changed.flow.coupling.growth == base.flow.coupling.growth
    assert base.flow == settings.flow == DenseFlowSettings()
    assert base.training == settings.training


def test_resolved_variants_know_their_discriminator():
    settings = parse_settings(
        merged(BASE, variant(discriminator="dcgan", adversarial_weight=0.5, init_from="baseline"))
    )
    found = settings.variants["b"]
    assert (found.name, found.discriminator_name, found.init_from) == ("b", "dcgan", "baseline")
    assert found.discriminator.width == 8
    assert settings.variants["baseline"].discriminator is None


def test_adaptive_weight_for_all_but_a_purely_adversarial_variant():
    over = training(adaptive_weight=True) | {
        "variants": {
            "half": {"discriminator": "dcgan", "adversarial_weight": 0.5},
            "whole": {"discriminator": "dcgan", "adversarial_weight": 1, "training": {"adaptive_weight": False}},
        }
    }
    settings = parse_settings(merged(BASE, over))
    found = {name: settings.variants[name].training.adaptive_weight for name in settings.variants}
    assert found == {"baseline": True, "half": True, "whole": False}


def test_settings_are_frozen():
    settings = parse_settings(BASE)
    with pytest.raises(ValueError, match="frozen"):
        settings.training.epochs = 3


def test_input_is_not_changed():
    config = merged(BASE, {"variants": {"b": None}})
    parse_settings(config)
    assert "b" in config["variants"]


# --- files ------------------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_later_files_lie_over_earlier_ones(tmp_path):
    first = write(
        tmp_path / "a.yaml", yaml.safe_dump(merged(BASE, training(epochs=3, optimizer={"lr": 0.5, "name": "adam"})))
    )
    second = write(tmp_path / "b.yaml", "training: {optimizer: {lr: 2e-1}}\nseeds: [4, 5]\nvariants: {b: {}}\n")
    settings = load_settings(first, second)
    assert settings.training.optimizer.lr == 0.2
    assert settings.training.optimizer.name == "adam"
    assert settings.training.epochs == 3
    assert settings.seeds == (4, 5)
    assert set(settings.variants) == {"baseline", "b"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("training: [", r"a\.yaml is not valid YAML: "),
        ("just text", r"a\.yaml must hold a mapping of settings\."),
        ("", r"a\.yaml must hold a mapping of settings\."),
        ("trainig: 3\nvariants: {a: {}}\nexperiment: x", "`trainig` is not a setting"),
    ],
)
def test_bad_files(tmp_path, text, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        load_settings(write(tmp_path / "a.yaml", text))
    assert "\n" not in str(error.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(UserError, match=r"config: cannot read .*none\.yaml: No such file or directory\."):
        load_settings(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(UserError, match=r"a\.yaml is not valid YAML"):
        load_settings(tmp_path / "a.yaml")


def test_the_papers_configuration():
    settings = load_settings(ROOT / "config.yaml")
    assert settings.flow == DenseFlowSettings(), "the defaults are DenseFlow-74-10"
    assert not settings.small
    rows = [(v.discriminator, v.adversarial_weight) for v in settings.variants.values()]
    assert sorted(rows, key=str) == sorted([(None, 0), ("dcgan", 0.5), ("resnet18", 0.5), ("resnet18", 1)], key=str)
    assert {name: d.width for name, d in settings.discriminators.items()} == {"dcgan": 32, "resnet18": 64}
    assert settings.sampling.images == 50_000


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_presets_on_top_of_it(preset):
    settings = load_settings(ROOT / "config.yaml", preset)
    assert settings.experiment != load_settings(ROOT / "config.yaml").experiment
    for name in settings.variants:
        settings.variants[name]


# --- the schema for editors -------------------------------------------------------------------------------------------

SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"


def test_the_committed_schema_is_up_to_date():
    expected = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert json_schema() == expected, (
        "run: python -m hybridflow.config.experiment > workflow/schemas/config.schema.json"
    )


def test_the_schema_is_written_by_the_module():
    run = subprocess.run(
        [sys.executable, "-m", "hybridflow.config.experiment"], capture_output=True, text=True, check=True
    )
    assert run.stdout == SCHEMA.read_text(encoding="utf-8")


def test_the_schema_accepts_our_files_and_refuses_mistakes():
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    for path in (ROOT / "config.yaml", *(ROOT / "presets").glob("*.yaml")):
        validator.validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    validator.validate({"variants": {"a": None, "b": {"training": {"epochs": 3}}}})
    for wrong in (
        {"trainig": {}},
        training(epochs=0),
        training(ema_decay=1),
        training(lr_decay=1.5),
        variant(adversarial_weight=-1),
        variant(training={"epoch": 3}),
        {"flow": {"units": "6"}},
    ):
        assert not validator.is_valid(wrong), wrong


def test_reading_a_configuration_does_not_import_torch():
    code = "import sys, hybridflow.config.experiment, hybridflow.store.keys, hybridflow.store.entries; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
