"""The experiment's settings: what is accepted, and the sentence for what is not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from preset_files import files_of

from hybridflow.config.generators import DenseFlowSettings
from hybridflow.config.loading import load_settings, parse_settings
from hybridflow.config.schema import json_schema
from hybridflow.config.yaml_files import merge, read_yaml
from hybridflow.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
OURS = [ROOT / "config.yaml", *sorted((ROOT / "presets").glob("*.yaml"))]
BASE: dict[str, Any] = {
    "experiment": "test",
    "discriminators": {"dcgan": {"kind": "dcgan", "width": 8}},
    "variants": {"baseline": {}},
}


def variant(**entry: Any) -> dict:
    return {"variants": {"b": entry}}


def training(**values: Any) -> dict:
    return {"training": values}


def parsed(over: dict) -> Any:
    return parse_settings(merge(BASE, over))


PATTERN = "but it must start with a letter or digit and hold only letters, digits, '.', '_' and '-' (64 at most)."
ADVERSARIAL = {"discriminator": "dcgan", "adversarial_weight": 1.0}
NONE_COMPARED = {"extractor": "dinov2"}
SHARED = variant(**ADVERSARIAL) | training(batch_size=64, devices=2)

SENTENCES: list[tuple[dict, str]] = [
    # keys
    ({"trainig": {}}, "`trainig` is not a setting; did you mean `training`? (known: experiment, small, "),
    (training(a=1, b=2), "resume_every_minutes) (1 more after this one)."),
    ({"generator": {"coupling": {"deph": 3}}}, "`generator.coupling.deph` is not a setting; did you mean `depth`?"),
    (
        {"discriminators": {"dcgan": {"widht": 3}}},
        "`discriminators.dcgan.widht` is not a setting; did you mean `width`",
    ),
    (variant(weight=1), "`variants.b.weight` is not a setting (known: discriminator, adversarial_weight, init_from, "),
    (variant(training={"epoch": 3}), "`variants.b.training.epoch` is not a setting; did you mean `epochs`?"),
    ({"discriminators": {"x": {"width": 3}}}, "`discriminators.x.kind` is missing"),
    # types
    (training(batch_size=3.5), "`training.batch_size` is 3.5, but it must be a whole number."),
    (training(batch_size=True), "`training.batch_size` is true, but it must be a whole number."),
    (training(batch_size=None), "`training.batch_size` is null, but it must be a whole number."),
    (training(compile=1), "`training.compile` is 1, but it must be true or false."),
    (training(epochs="many"), "`training.epochs` is 'many', but it must be a number."),
    (training(epochs=True), "`training.epochs` is true, but it must be a number."),
    (training(epochs=float("nan")), "`training.epochs` is nan, but it must be finite."),
    ({"experiment": 3}, "`experiment` is 3, but it must be text."),
    ({"seeds": 3}, "`seeds` is 3, but it must be a list."),
    ({"seeds": []}, "`seeds` is [], but it must have at least 1 entry."),
    ({"seeds": [1, "a"]}, "`seeds.1` is 'a', but it must be a whole number."),
    (training(optimizer={"betas": [0.9] * 3}), "betas` is [0.9, 0.9, 0.9], but it must have at most 2 entries."),
    ({"training": [1]}, "`training` is [1], but it must be a mapping of settings."),
    ({"variants": [1]}, "`variants` is [1], but it must be a mapping."),
    ({"variants": {3: {}}}, "`variants.3` is 3, but it must be text."),
    ({"experiment": {"x" * 30: "y" * 30}}, "`experiment` is {'" + "x" * 30 + "': '" + "y" * 21 + "..., but it must"),
    # ranges and choices
    (training(batch_size=0), "`training.batch_size` is 0, but it must be at least 1."),
    ({"sampling": {"images": 9}}, "`sampling.images` is 9, but it must be at least 10."),
    (training(lr_decay=2), "`training.lr_decay` is 2, but it must be at most 1."),
    (training(ema_decay=1), "`training.ema_decay` is 1, but it must be less than 1."),
    (variant(training={"optimizer": {"lr": 0}}), "`variants.b.training.optimizer.lr` is 0, but it must be greater"),
    ({"seeds": [1, 1]}, "seeds must differ from each other, got [1, 1]."),
    (training(optimizer={"name": "adma"}), "must be 'adam', 'adamax', 'adamw' or 'muon' (did you mean 'adamax'"),
    (variant(generator={"family": "densflow"}), "generator.family` is 'densflow', which is not known; did you mean"),
    ({"evaluation": {"metrics": ["fdi"]}}, "`evaluation.metrics` names 'fdi', which is not known; did you mean `fid`?"),
    # rules about several settings
    ({"generator": {"units": []}}, "`generator`: units must have 1 to 4 entries, one per scale, not 0 (32x32 images)."),
    (
        variant(generator={"units": [1]}),
        "`variants.b.generator`: steps_per_unit must have one entry per scale: 1 as in",
    ),
    (training(batch_size=64, devices=3), "`training`: batch_size must be a multiple of devices, so that each gets"),
    ({"dataset": {"source": "folder"}}, "`dataset`: folder must name a directory with train/ and test/ when source is"),
    (
        {"dataset": {"folder": "x"}},
        "`dataset`: folder is 'x', but source is 'cifar10'; set source to folder, or folder",
    ),
    (training(distance=NONE_COMPARED), "config: `training.distance.extractor` is 'dinov2', but no metric of"),
    (training(distance=NONE_COMPARED), "for cifar_classifier, or set `training.distance.extractor` to null."),
    (variant(training={"distance": NONE_COMPARED}), "or set `variants.b.training.distance.extractor` to null."),
    ({"dataset": {"source": "folder", "folder": "x"}}, "names 'fd_cifar', whose classifier is trained on CIFAR-10's"),
    ({"evaluation": {"likelihood": {"split": "holdout"}}}, "but dataset.holdout keeps no images back; set it to 2 or"),
    ({"sampling": {"images": 2048}}, "`sampling.images` is 2048, but `evaluation.metrics` names 'fid', which compares"),
    (
        {"sampling": {"images": 256}, "evaluation": {"metrics": ["fd_cifar"]}},
        "covariances of 256 features and needs more images than that; draw more images, take the metric out",
    ),
    # names
    ({"experiment": "logs"}, "`experiment` is 'logs', but it is taken by a folder of the results (reference, figures"),
    ({"variants": {"pictures": {}}}, "is 'pictures', but it is taken by a folder of the results"),
    ({"variants": {"cards": {}}}, "is 'cards', but it is taken by a folder of the results"),
    ({"variants": {"table1.csv": {}}}, "must not end like a file of the results"),
    ({"variants": {"../a": {}}}, f"is '../a', {PATTERN}"),
    ({"variants": {"a" * 65: {}}}, PATTERN),
    # variants
    (variant(**ADVERSARIAL | {"discriminator": "dgcan"}), "not defined under `discriminators`; did you mean `dcgan`?"),
    (variant(discriminator="dcgan"), "`variants.b` has discriminator 'dcgan' but adversarial_weight 0; give it a"),
    (variant(adversarial_weight=0.5), "`variants.b` has adversarial_weight 0.5 but no discriminator; name one, or set"),
    ({"adversarial": {"adaptive_weight": True}} | variant(**ADVERSARIAL), "so there is no likelihood gradient for"),
    (variant(generator={"family": "dcgan"}), "generator family 'dcgan' has no likelihood; set the weight to 1"),
    (SHARED | {"adversarial": {"penalties": {"r2": 1}}}, "`variants.b.adversarial.penalties` need second derivatives"),
    ({"adversarial": {"penalties": {"anneal": {"shape": "cosine"}}}}, "`adversarial.penalties.anneal.to` is missing"),
    (variant(init_from="basline"), "`variants.b.init_from` is 'basline', which is not a variant; did you mean"),
    (variant(init_from="baseline", generator={"growth_rate": 3}), "`variants.b.generator` differs from that of `init_"),
    ({"variants": {"a": {"init_from": "b"}, "b": {"init_from": "c"}, "c": {"init_from": "b"}}}, "leads back to 'b'"),
]


@pytest.mark.parametrize(("over", "sentence"), SENTENCES, ids=range(len(SENTENCES)))
def test_sentences(over, sentence):
    with pytest.raises(UserError) as error:
        parsed(over)
    message = str(error.value)
    assert message.startswith("config: ")
    assert sentence in message
    assert message.endswith(".")
    assert "\n" not in message
    for foreign in ("dictionary", "instance", "tuple", "Input", "validation", "None", "Value error"):
        assert foreign not in message


@pytest.mark.parametrize(("config", "shown"), [(3, "3"), (None, "null"), ([], r"\[\]")])
def test_a_configuration_is_a_mapping(config, shown):
    with pytest.raises(UserError, match=rf"config: it is {shown}, but it must be a mapping"):
        parse_settings(config)


def test_required_settings():
    with pytest.raises(UserError, match=r"`experiment` is missing \(1 more after this one\)"):
        parse_settings({})
    for empty in ({}, {"baseline": None}):
        with pytest.raises(UserError, match=r"`variants` is \{\}, but it must have at least 1 entry"):
            parse_settings({"experiment": "x", "variants": empty})


def test_null_variants_are_dropped_and_the_input_is_not_changed():
    config = merge(BASE, {"variants": {"baseline": None, "b": {}}})
    assert list(parse_settings(config).variants) == ["b"]
    assert "baseline" in config["variants"]


def test_overrides_reach_deep_and_no_further():
    over = training(optimizer={"lr": 0.25, "weight_decay": 0.125}) | variant(
        training={"optimizer": {"lr": 0.5}}, generator={"coupling": {"depth": 3}}, **ADVERSARIAL
    )
    variants = parsed(over).variants
    changed, base = variants["b"], variants["baseline"]
    assert (changed.training.optimizer.lr, base.training.optimizer.lr) == (0.5, 0.25)
    assert changed.training.optimizer.weight_decay == 0.125
    assert changed.training.final_phase == base.training.final_phase
    assert changed.generator.coupling.depth == 3
    assert changed.generator.coupling.growth == base.generator.coupling.growth
    assert base.generator == DenseFlowSettings()
    assert (changed.discriminator_name, changed.discriminator.width, base.discriminator) == ("dcgan", 8, None)


def test_a_small_experiment_may_draw_fewer_images_than_there_are_features():
    found = parsed({"small": True, "sampling": {"images": 300}})
    assert found.evaluation.undersampled(300) == ["fid", "fd_imagenet"]
    assert found.evaluation.undersampled(256) == ["fid", "fd_imagenet", "fd_cifar", "fd_cifar_test"]
    assert parsed({"sampling": {"images": 2049}}).evaluation.undersampled(2049) == []


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        parsed({}).training.epochs = 3


def test_later_files_lie_over_earlier_ones(tmp_path):
    (tmp_path / "a.yaml").write_text("experiment: x\ntraining: {epochs: 3, optimizer: {lr: 0.5, name: adam}}\n")
    (tmp_path / "b.yaml").write_text("training: {optimizer: {lr: 2e-1}}\nseeds: [4, 5]\nvariants: {b: {}}\n")
    settings = load_settings(tmp_path / "a.yaml", tmp_path / "b.yaml")
    assert (settings.training.optimizer.lr, settings.training.optimizer.name, settings.training.epochs) == (
        0.2,
        "adam",
        3,
    )
    assert settings.seeds == (4, 5)


def test_the_papers_configuration():
    settings = load_settings(ROOT / "config.yaml")
    assert settings.variants["baseline"].generator == DenseFlowSettings(), "the defaults are DenseFlow-74-10"
    assert not settings.small
    rows = [(v.discriminator_name, v.adversarial_weight) for v in settings.variants.values()]
    assert rows == [(None, 0), ("dcgan", 0.5), ("resnet18", 0.5), ("resnet18", 1)], "the order of the table"
    assert settings.sampling.images == 50_000


@pytest.mark.parametrize("preset", OURS[1:], ids=lambda path: path.stem)
def test_presets_on_top_of_it(preset):
    below = [OURS[0], *(ROOT / path for path in files_of(preset)[:-1])]
    assert load_settings(*below, preset).experiment != load_settings(*below).experiment


# --- the schema for editors -------------------------------------------------------------------------------------------


def test_the_committed_schema_is_up_to_date():
    committed = json.loads((ROOT / "workflow" / "schemas" / "config.schema.json").read_text(encoding="utf-8"))
    assert json_schema() == committed, "run: python -m hybridflow.config.schema > workflow/schemas/config.schema.json"


def test_the_schema_accepts_our_files_and_refuses_mistakes():
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    for path in OURS:
        validator.validate(read_yaml(path))
    for wrong in ({"trainig": {}}, training(epochs=0), training(ema_decay=1), variant(adversarial_weight=-1)):
        assert not validator.is_valid(wrong), wrong


def test_reading_a_configuration_does_not_import_torch():
    code = "import sys, hybridflow.config.loading, hybridflow.store.entries; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("penalties", "kind"),
    [({"r2": 1, "finite_differences": True}, "dcgan"), ({"r2": 1, "gradient_penalty": 1}, "norm_free")],
)
def test_penalties_that_several_devices_can_compute(penalties, kind):
    config = SHARED | {"adversarial": {"penalties": penalties}, "discriminators": {"dcgan": {"kind": kind}}}
    assert parse_settings(BASE | config).variants["b"].training.devices == 2
