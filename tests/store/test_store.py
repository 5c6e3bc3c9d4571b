"""Keys, and the keyed store."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
from forks import start
from pydantic import create_model

from hybridflow.config.adversarial import LOSSES, AdversarialSettings
from hybridflow.config.experiment import Settings
from hybridflow.config.extractors import EXTRACTORS
from hybridflow.config.fields import AsBefore
from hybridflow.config.loading import load_settings, parse_settings
from hybridflow.config.registry import Registered
from hybridflow.config.training import TrainingSettings
from hybridflow.config.yaml_files import merge
from hybridflow.data.fingerprint import content_hash
from hybridflow.runtime.errors import UserError
from hybridflow.store.entries import (
    Entry,
    calibration_entry,
    claim,
    expected_entries,
    extractor_entry,
    moments_entry,
    status_lines,
    variant_entry,
)
from hybridflow.store.keys import moments_key, training_key

ROOT = Path(__file__).parents[2]
BASE = {
    "experiment": "test",
    "discriminators": {"dcgan": {"kind": "dcgan", "width": 8}, "resnet18": {"kind": "resnet18", "width": 8}},
    "variants": {
        "baseline": {},
        "hybrid": {"discriminator": "dcgan", "adversarial_weight": 0.5, "init_from": "baseline"},
        "late": {"discriminator": "resnet18", "adversarial_weight": 1, "init_from": "hybrid"},
        "alone": {"discriminator": "dcgan", "adversarial_weight": 0.5},
    },
}
NAMES = list(BASE["variants"])


def settings(**over) -> Settings:
    return parse_settings(merge(BASE, over))


def keys(**over) -> dict[str, str]:
    return {name: training_key(settings(**over), name, 0, "data") for name in NAMES}


def changed(**over) -> set[str]:
    before, after = keys(), keys(**over)
    return {name for name in NAMES if before[name] != after[name]}


# --- keys -------------------------------------------------------------------------------------------------------------


def test_keys_are_short_hashes_and_differ():
    found = keys()
    assert len(set(found.values())) == 4
    assert all(len(key) == 12 and int(key, 16) >= 0 for key in found.values())
    assert found == keys()


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        ({"baseline": {"training": {"optimizer": {"lr": 0.5}}}}, {"baseline", "hybrid", "late"}),
        ({"hybrid": {"training": {"optimizer": {"lr": 0.5}}}}, {"hybrid", "late"}),
        ({"late": {"adversarial": {"label_smoothing": 0.2}}}, {"late"}),
        ({"alone": {"training": {"ema_decay": 0.5}}}, {"alone"}),
        ({"alone": {"adversarial_weight": 0.25}}, {"alone"}),
        ({"alone": {"init_from": "baseline"}}, {"alone"}),
        ({"alone": {"discriminator": "resnet18"}}, {"alone"}),
        ({"alone": {"adversarial": {"adaptive_weight": True}}}, {"alone"}),
        ({"baseline": {"adversarial": {"adaptive_weight": True, "penalties": {"r1": 1.0}}}}, set()),
        ({"alone": {"generator": {"growth_rate": 11}}}, {"alone"}),
    ],
)
def test_a_variants_settings_change_its_key_and_its_childrens(variants, expected):
    assert changed(variants=variants) == expected


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ({"training": {"batch_size": 65}}, set(NAMES)),
        ({"training": {"precision": "bf16"}}, set(NAMES)),
        ({"training": {"augmentation": {"pad": 3}}}, set(NAMES)),
        ({"generator": {"growth_rate": 11}}, set(NAMES)),
        ({"discriminators": {"dcgan": {"width": 9}}}, {"hybrid", "late", "alone"}),
        ({"discriminators": {"resnet18": {"width": 9}}}, {"late"}),
        ({"dataset": {"holdout": 5000}}, set(NAMES)),
        # what only an adversarial step reads leaves the baseline alone
        ({"adversarial": {"label_smoothing": 0.2}}, {"hybrid", "late", "alone"}),
        ({"adversarial": {"discriminator_steps": 2}}, {"hybrid", "late", "alone"}),
        ({"adversarial": {"gradient_clip": 2.0}}, {"hybrid", "late", "alone"}),
        ({"adversarial": {"discriminator_optimizer": {"lr": 0.5}}}, {"hybrid", "late", "alone"}),
        ({"adversarial": {"penalties": {"r1": 1.0}}}, {"hybrid", "late", "alone"}),
        ({"adversarial": {"inward_gradient": True}}, {"hybrid", "late", "alone"}),
        ({"adversarial": {"warmup_steps": 3}}, {"hybrid", "late", "alone"}),
        ({"adversarial": {"warmup_steps": 3}, "training": {"warmup_steps": 3}}, set(NAMES)),
        ({"adversarial": {"real_images": "flipped"}}, {"hybrid", "late", "alone"}),
        ({"adversarial": {"diff_augment": ["color"]}}, {"hybrid", "late", "alone"}),
        ({"adversarial": {"gradient_normalisation": True}}, {"hybrid", "late", "alone"}),
        ({"adversarial": {"penalties": {"anneal": {"to": 0.5}}}}, {"hybrid", "late", "alone"}),
        ({"adversarial": {"discriminator_optimizer": {"anneal": {"to": 0.5}}}}, {"hybrid", "late", "alone"}),
        ({"discriminators": {"resnet18": {"spectral_norm": True}}}, {"late"}),
    ],
)
def test_shared_settings_change_the_keys_of_those_that_use_them(over, expected):
    assert changed(**over) == expected


@pytest.mark.parametrize(
    "over",
    [
        {"training": {"device": "cpu"}},
        {"training": {"devices": 2}},
        {"training": {"threads": 7}},
        {"training": {"log_every": 7, "grid_every": 9}},
        {"training": {"resume_every_minutes": 1.5}},
        {"sampling": {"images": 4000}, "evaluation": {"likelihood": {"images": 10}}},
        {"experiment": "other", "small": True, "seeds": [0, 1]},
        {"dataset": {"holdout": 0}, "training": {"gradient_clip": None, "checkpointing": False}},
        {"variants": {"another": {"training": {"epochs": 1}}}},
        {"adversarial": {"max_sample_magnitude": 10}},
        {"adversarial": {"penalties": {"r1": None}, "adaptive_weight": False, "inward_gradient": False}},
        {"discriminators": {"dcgan": {"spectral_norm": False}, "resnet18": {"spectral_norm": False}}},
    ],
)
def test_settings_without_effect_on_weights_change_no_key(over):
    assert changed(**over) == set()


def test_equivalent_ways_of_writing_a_setting_have_one_key():
    assert changed(training={"optimizer": {"lr": "1e-3"}, "epochs": 400}) == set()
    assert changed(variants={"baseline": {"training": {"batch_size": 64}}}) == set()


class Later(TrainingSettings):
    """TrainingSettings of a later version: one more option, on by default, that was off before it existed."""

    newer: Annotated[bool, AsBefore(False)] = True
    number: Annotated[int, AsBefore(0)] = 0


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"newer": False}, True),  # as before the option existed
        ({"newer": True}, False),
        ({}, False),  # its default is another training
        ({"newer": False, "number": 1}, False),
    ],
)
def test_an_option_of_a_later_version_enters_the_key_unless_it_means_as_before(options, same):
    before = settings()
    training = Later(**before.variants["baseline"].training.model_dump(), **options)
    variants = before.variants | {"baseline": before.variants["baseline"].model_copy(update={"training": training})}
    after = before.model_copy(update={"variants": variants})
    assert (training_key(after, "baseline", 0, "d") == training_key(before, "baseline", 0, "d")) == same


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (None, {"baseline": "c827b1202b98", "dcgan-0.5": "0893783307aa", "resnet18-1": "3eb97c657ded"}),
        ("smoke", {"baseline": "ca6ef5e6b9d1", "dcgan-0.5": "96a3a7c928a5", "resnet18-1": "eaaebf6c745b"}),
        ("cpu", {"baseline": "0d3fd7525f1b", "control": "792019860aa5", "relativistic-1": "8b2209dcb7dc"}),
        ("systems-cpu", {"nice": "f6a97174211e", "vae": "62d10a2705e8", "gan": "e932a25806ec"}),
        ("systems-cpu", {"realnvp": "d6173a9558f9", "flow-gan": "ba19506ee05a", "glow-0.5": "c6b6f01f81e2"}),
    ],
)
def test_the_keys_of_the_presets_stay(preset, expected):
    """Weights that are stored or published under these keys must be found by every later version."""
    files = [ROOT / "config.yaml", *([ROOT / "presets" / f"{preset}.yaml"] if preset else [])]
    found = load_settings(*files)
    data = content_hash(found.dataset, Path("unused.json"))
    assert {name: training_key(found, name, 0, data) for name in expected} == expected
    if preset == "cpu":
        classifier = found.evaluation.extractors["cifar_classifier"].identity(data)
        assert classifier == "466818651535"
        assert moments_key(classifier, "train", data) == "26d02e88636f"


def test_seed_and_dataset_change_every_key():
    base = settings()
    for name in NAMES:
        key = training_key(base, name, 0, "data")
        assert key != training_key(base, name, 1, "data")
        assert key != training_key(base, name, 0, "other data")


def test_no_adversarial_setting_hides_one_of_the_training_in_a_key():
    variant = load_settings(ROOT / "config.yaml").variants["dcgan-0.5"]
    penalties = {"r1": 1, "anneal": {"to": 0}}
    on = {"warmup_steps": 9, "gradient_clip": 9, "diff_augment": ["color"], "real_images": "flipped"}
    on |= {"gradient_normalisation": True, "adaptive_weight": True, "penalties": penalties}
    adversarial = type(variant.adversarial)(**on)
    training = variant.training.model_copy(update={"gradient_clip": 1.0, "ema_decay": 0.5})
    assert not set(adversarial.key_values()) & set(training.key_values())


@pytest.mark.parametrize("name", EXTRACTORS)
def test_an_extractors_version_changes_its_identity(name, monkeypatch):
    extractor = EXTRACTORS[name].settings()
    before = extractor.identity("d")
    monkeypatch.setattr(type(extractor), "version", 2)
    assert extractor.identity("d") != before


def test_training_version_changes_every_key(monkeypatch):
    before = keys()
    monkeypatch.setattr("hybridflow.store.keys.TRAINING_VERSION", 999)
    assert not set(before.values()) & set(keys().values())


def test_other_keys():
    classifier = settings().evaluation.extractors["cifar_classifier"]
    other = classifier.model_copy(update={"width": classifier.width + 1})
    found = {classifier.identity("a"), other.identity("a"), classifier.identity("b")}
    found |= {moments_key("x", "train", "a"), moments_key("y", "train", "a")}
    found |= {moments_key("x", "test", "a"), moments_key("x", "train", "b")}
    assert len(found) == 7


# --- the store --------------------------------------------------------------------------------------------------------


def make(entry: Entry, suffixes=None) -> None:
    entry.root.mkdir(exist_ok=True)
    for suffix in (*entry.suffixes, ".json") if suffixes is None else suffixes:
        entry.file(suffix).write_bytes(b"x")


def track(entry: Entry, suffix: str) -> Path:
    """Writes what DVC writes about a file."""
    entry.root.mkdir(exist_ok=True)
    path = entry.file(suffix)
    note = path.with_name(path.name + ".dvc")
    note.write_text(f"outs:\n- md5: {'0a' * 16}\n  size: 1\n  hash: md5\n  path: {path.name}\n")
    return note


def test_entries(tmp_path):
    entry = variant_entry(settings(), "hybrid", 3, "data", tmp_path)
    assert entry.name == "hybrid-seed3"
    assert entry.key == training_key(settings(), "hybrid", 3, "data")
    assert [path.name for path in entry.files] == [
        f"hybrid-seed3-{entry.key}{s}" for s in (".safetensors", ".jsonl", ".json")
    ]
    assert not entry.stored
    make(entry, [".safetensors", ".jsonl"])
    assert not entry.stored, "a result without its record was never finished"
    make(entry)
    assert entry.stored
    assert not entry.published
    track(entry, ".safetensors")
    assert not entry.published
    track(entry, ".jsonl")
    track(entry, ".json")
    assert entry.published


def test_another_store_by_the_environment(tmp_path):
    code = "from hybridflow.store.entries import Entry; print(Entry('a', 'b', ('.c',)).file('.c'))"
    environment = os.environ | {"HYBRIDFLOW_STORE": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(tmp_path / "a-b.c")


@pytest.mark.parametrize("name", ["epochs", "stored"])  # the second enters a key only if it is not as before
def test_a_loss_whose_setting_would_hide_one_of_the_training_is_refused(monkeypatch, name):
    own = create_model("Own", __base__=AdversarialSettings, **{name: (int, 1)})
    monkeypatch.setitem(LOSSES, "own", Registered(own, object))
    with pytest.raises(UserError, match=f"the loss 'own' has a setting '{name}', as `training` has; give it another"):
        keys(adversarial={"loss": "own"})


def test_moments_depend_on_what_extracts_them(tmp_path):
    base = settings()
    assert (
        moments_entry(base, "inception", "train", "d").key != moments_entry(base, "cifar_classifier", "train", "d").key
    )
    (tmp_path / "mine.pth").write_bytes(b"other weights")
    mine = settings(evaluation={"extractors": {"inception": {"weights": str(tmp_path / "mine.pth")}}})
    assert moments_entry(mine, "inception", "train", "d").key != moments_entry(base, "inception", "train", "d").key
    wider = settings(evaluation={"extractors": {"cifar_classifier": {"width": 3}}})
    for split in ("train", "test"):
        assert moments_entry(base, "inception", split, "d").key == moments_entry(wider, "inception", split, "d").key
        changed = moments_entry(wider, "cifar_classifier", split, "d").key
        assert changed != moments_entry(base, "cifar_classifier", split, "d").key
    assert extractor_entry(base, "cifar_classifier", "d").key != extractor_entry(wider, "cifar_classifier", "d").key


def test_a_calibration_depends_on_its_images_and_metrics_and_on_no_model():
    def key(**over: object) -> str:
        return calibration_entry(settings(**over), "cifar_classifier", "d").key

    chosen = {"metrics": ["fd_cifar", "kid_cifar"]}
    assert key(evaluation=chosen) != key(evaluation={"metrics": ["fd_cifar"]})
    assert key(evaluation=chosen) == key(evaluation={"metrics": [*chosen["metrics"], "fd_imagenet"]})
    assert key(sampling={"images": 10_000}) != key()
    assert key(evaluation={"extractors": {"cifar_classifier": {"width": 3}}}) != key()
    assert key(training={"batch_size": 3}, seeds=[4]) == key()


def test_expected_entries():
    names = [entry.name for entry in expected_entries(settings(seeds=[0, 4]), "data")]
    trained = [f"{name}-seed{seed}" for name in NAMES for seed in (0, 4)]
    moments = ["inception-train", "efficientnet_lite0-train", "cifar_classifier-train", "cifar_classifier-test"]
    measured = ["classifier", *(f"moments-{name}" for name in moments), "features-efficientnet_lite0-train"]
    pictured = ["features-cifar_classifier-train"]  # nearest training images; Inception is too slow for that alone
    measured += ["calibration-efficientnet_lite0", "calibration-cifar_classifier"]
    assert sorted(names) == sorted([*trained, *measured, *pictured])
    plain = settings(seeds=[0, 4], evaluation={"pictures": False})
    assert {entry.name for entry in expected_entries(plain, "data")} == {*names} - {*pictured}
    off = settings(evaluation={"metrics": []})
    assert sorted(entry.name for entry in expected_entries(off, "data")) == sorted(f"{name}-seed0" for name in NAMES)


def test_status_lines(tmp_path):
    entries = [Entry(name, f"k{name}", (".bin",), tmp_path) for name in "abc"]
    make(entries[0])
    track(entries[1], ".bin")
    track(entries[1], ".json")
    assert status_lines(entries) == [
        "store: 1 of 3 results of this configuration are here",
        "  published but not pulled (`hybridflow pull` brings them): b-kb",
        "  to be computed: c-kc",
    ]
    make(entries[1])
    make(entries[2])
    assert status_lines(entries) == ["store: 3 of 3 results of this configuration are here"]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[: text.index("path")],
        lambda text: text.replace("0a", "0x"),
        lambda text: text.replace("b-kb", "b-kc"),
        lambda text: text.replace("md5:", "md4:"),
        lambda text: text.replace("outs", "[outs"),
        lambda text: "outs: 3",
    ],
)
def test_a_damaged_dvc_file_is_named(tmp_path, change):
    entry = Entry("b", "kb", (".bin",), tmp_path / "my store")
    note = track(entry, ".bin")
    track(entry, ".json")
    assert entry.published
    note.write_text(change(note.read_text()))
    assert not entry.published
    assert status_lines([entry])[1:] == [
        "  to be computed: b-kb",
        f"  damaged: {note} (`git checkout '{note}'` brings it back)",
    ]
    note.write_bytes(b"\xff\x00")
    assert entry.damaged_notes == [note]


# --- several processes ------------------------------------------------------------------------------------------------


def hold_entry(entry: Entry, pipe) -> None:
    with claim(entry):
        pipe.send("claimed")
        pipe.recv()


def test_an_entry_is_made_by_one_process_at_a_time(tmp_path, capfd):
    entry = Entry("a", "key", (".bin",), tmp_path / "store")
    first, to_first = start(hold_entry, entry)
    assert to_first.poll(20)
    assert to_first.recv() == "claimed"
    second, to_second = start(hold_entry, entry)
    third, to_third = start(hold_entry, Entry("b", "key", (".bin",), tmp_path / "store"))
    assert to_third.poll(20), "another entry is free"
    assert not to_second.poll(0.5), "the entry is taken"
    first.kill()  # the operating system frees the lock
    assert to_second.poll(20)
    to_second.send("go on")
    to_third.send("go on")
    for process in (first, second, third):
        process.join(20)
    assert (second.exitcode, third.exitcode) == (0, 0)
    assert capfd.readouterr().err == "another process is making a (key); waiting for it\n"
    with claim(entry):
        pass
