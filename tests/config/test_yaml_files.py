"""Configuration files are read strictly, and every problem is one sentence with file and line."""

import math
from pathlib import Path

import pytest
import yaml

from hybridflow.config.yaml_files import merge, read_yaml, resolve_text
from hybridflow.runtime.errors import UserError

ROOT = Path(__file__).parents[2]


def read(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    return read_yaml(tmp_path / "a.yaml")


SCALARS = {
    "010": 10,
    "-7": -7,
    "0o17": 15,
    "0x1F": 31,
    "1:30": "1:30",
    "1_000": "1_000",
    "2024-01-01": "2024-01-01",
    "1e-3": 1e-3,
    "-.5E+2": -50.0,
    "1.": 1.0,
    ".inf": math.inf,
    "yes": "yes",
    "no": "no",
    "on": "on",
    "off": "off",
    "True": True,
    "false": False,
    "~": None,
    "": None,
    "null": None,
    "=": "=",
    "'010'": "010",
    '"true"': "true",
    "a b": "a b",
}


@pytest.mark.parametrize("text", SCALARS)
def test_scalars_mean_what_yaml_1_2_says(tmp_path, text):
    found = read(tmp_path, f"a: {text}\nb: [{text or 'null'}]\n")
    assert found == {"a": SCALARS[text], "b": [SCALARS[text]]}
    assert type(found["a"]) is type(SCALARS[text])


def test_keys_are_not_surprising_either(tmp_path):
    assert read(tmp_path, "on: 1\nno: 2\n") == {"on": 1, "no": 2}


def test_anchors_and_merges_work(tmp_path):
    text = "a: {b: {c: &late {<<: &base {x: 1, y: 2}, x: 3}}}\nd: {<<: *late, y: 4}\ne: &base2 {x: 5}\nf: *base2\n"
    found = read(tmp_path, text)
    assert found == {"a": {"b": {"c": {"x": 3, "y": 2}}}, "d": {"x": 3, "y": 4}, "e": {"x": 5}, "f": {"x": 5}}
    assert found == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "a: 1\nvariants:\n  b: {}\n  c: {}\n  b: {}\n",
            "line 5: the key `b` is there a second time (first in line 3)",
        ),
        ("a: {x: 1, 'x': 2}", "line 1: the key `x` is there a second time (first in line 1)"),
        ("a: 1\nb: [1,\nc: 2", "line 3: expected ',' or ']'"),
        ("a: 1\n\tb: 2", "line 2: "),
        ("a: 'x", "line 1: found unexpected end of stream"),
        ("a: *b", "line 1: found undefined alias 'b'"),
        ("a: !!python/name:os.system x", "line 1: could not determine a constructor"),
        ("a: !!int 1:30", "line 1: '1:30' is not a usable value"),
        ("a: 1\nb: " + "9" * 5000, "line 2: '9999"),
        ("a: {[1]: 2}", "line 1: found unhashable key"),
        ("a: 1\n---\nb: 2", "line 2: but found another document"),
        ("a: 1\nb: \x07", "line 2: it holds a control character"),
        ("a: " + "[" * 3000 + "]" * 3000, "is nested too deeply"),
        ("just text", "must hold a mapping"),
        ("[1]", "must hold a mapping"),
        ("", "must hold a mapping"),
    ],
)
def test_bad_files(tmp_path, text, sentence):
    with pytest.raises(UserError) as error:
        read(tmp_path, text)
    message = str(error.value)
    assert message.startswith(f"config: {tmp_path / 'a.yaml'}")
    assert sentence in message
    assert message.endswith(".")
    assert "\n" not in message


def test_unreadable_files(tmp_path):
    with pytest.raises(UserError, match=r"config: cannot read .*none\.yaml: No such file or directory; correct"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_bytes(b"a: 1\nb: \xff\xfe\xfa")
    with pytest.raises(UserError, match=r"a\.yaml, line 2: it is not UTF-8 text"):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    "path", [ROOT / "config.yaml", *sorted((ROOT / "presets").glob("*.yaml"))], ids=lambda p: p.stem
)
def test_our_own_files_hold_no_surprise(path):
    assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_a_byte_order_mark_is_skipped(tmp_path):
    assert read(tmp_path, "\ufeffa: 1") == {"a": 1}


def test_texts_of_the_command_line_mean_what_they_would_in_a_file():
    found = resolve_text({"small": "false", "seeds": ["0", "1"], "a": {"lr": "1e-3", "b": "x", "c": None, "d": 2}})
    assert found == {"small": False, "seeds": [0, 1], "a": {"lr": 1e-3, "b": "x", "c": None, "d": 2}}


@pytest.mark.parametrize(
    ("base", "over"),
    [
        ({"generator": {"family": "nice", "width": 3}}, {"generator": {"family": "glow"}}),
        (
            {"variants": {"b": {"adversarial": {"loss": "hinge", "a": 1}}}},
            {"variants": {"b": {"adversarial": {"loss": "x"}}}},
        ),
        ({"discriminators": {"d": {"kind": "dcgan", "width": 3}}}, {"discriminators": {"d": {"kind": "patchgan"}}}),
    ],
)
def test_another_class_takes_none_of_the_formers_options(base, over):
    assert merge(base, over) == over


def test_both_kinds_of_dequantization_have_the_same_options():
    base = {"generator": {"dequantization": {"kind": "variational", "steps": 2}}}
    found = merge(base, {"generator": {"dequantization": {"kind": "uniform"}}})
    assert found == {"generator": {"dequantization": {"kind": "uniform", "steps": 2}}}


@pytest.mark.parametrize("section", ["variants", "discriminators", "sweep"])
@pytest.mark.parametrize("name", ["loss", "family", "kind"])
def test_an_entry_may_have_the_name_of_a_choice(section, name):
    entries = {name: {"x": 1}, "other": {"x": 2}}
    assert merge({section: entries}, {section: {name: {"x": 3}}}) == {section: entries | {name: {"x": 3}}}
