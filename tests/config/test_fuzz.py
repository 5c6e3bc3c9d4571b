"""Configurations that went wrong in any way: each parses, or is refused by one sentence that names its key."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridflow.config.fields import NAME_PATTERN
from hybridflow.config.loading import parse_settings
from hybridflow.config.yaml_files import read_yaml
from hybridflow.runtime.errors import UserError
from hybridflow.store.keys import training_key

ROOT = Path(__file__).parents[2]
SWEEP = {
    "name": "w-{adversarial_weight:g}",
    "variant": {"discriminator": "dcgan"},
    "over": {"adversarial_weight": [0.3, 1]},
}
BASE = read_yaml(ROOT / "config.yaml") | {"sweep": {"weights": SWEEP}}
TEXTS = ["", " ", "$(touch hacked)", "a\nb", "\x00", "\u2028", "\x1b[31mred", "ärger 図", "../../etc/passwd", "~"]
TEXTS += ["{wildcards.variant}", "%s%n", "nan", "1e999", "1_000", "--help", "null", "x" * 100_000, "\ud800"]
NUMBERS = [0, -1, 1, 3, 10**9, 10**400, -(10**400), 0.0, -0.5, 1.0, 1e-300, 1e308, float("nan"), float("inf")]
ODD: list[Any] = [None, True, False, b"bytes", {1, 2}, object(), [], {}, [[]], {"": None}, {None: None}, {3: 4}]
ODD += [{"a": {"b": {"c": None}}}, [None, [None]], {(1, 2): 3}]


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The paths of all values inside nested mappings and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def put(config: dict[str, Any], place: tuple, kind: str, value: Any) -> None:
    """Changes one thing; a place that an earlier change removed is left alone."""
    try:
        target = config
        for key in place[:-1]:
            target = target[key]
        if kind == "set":
            target[place[-1]] = value
        elif kind == "wrap":
            target[place[-1]] = [target[place[-1]]]
        elif kind == "remove":
            del target[place[-1]]
        elif kind == "rename":
            target[value] = target.pop(place[-1])
        else:
            target[value if isinstance(target, dict) else 0] = value
    except (KeyError, IndexError, TypeError):
        return


def check(config: Any) -> None:
    """It parses and gives names and keys that are safe everywhere, or is refused by a sentence that is one."""
    try:
        accepted = parse_settings(config)
    except UserError as error:
        found = str(error)
        assert found.startswith("config: ")
        assert found.endswith(".")
        assert found.isprintable(), found
        assert len(found) < 1500, found
        return
    for name in (accepted.experiment, *accepted.variants):
        assert re.fullmatch(NAME_PATTERN.rstrip("$"), name)
    for name, seed in accepted.models:
        assert re.fullmatch("[0-9a-f]{12}", training_key(accepted, name, seed, "data"))


PLACES = sorted(places(BASE), key=str)
VALUES = st.one_of(st.sampled_from(TEXTS + NUMBERS + ODD), st.text(max_size=20), st.integers(), st.floats())
KINDS = st.sampled_from(("set", "wrap", "remove", "rename", "add"))


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(PLACES), KINDS, VALUES), min_size=1, max_size=3))
def test_changed_configurations_parse_or_are_refused(changes):
    config = copy.deepcopy(BASE)
    for change in changes:
        put(config, *change)
    check(config)


def test_odd_values_at_every_place():
    values = [*TEXTS, *NUMBERS, *ODD]
    for number, place in enumerate(PLACES):
        for value in values[number % 3 :: 3]:
            config = copy.deepcopy(BASE)
            put(config, place, "set", value)
            check(config)


@pytest.mark.parametrize("text", [text for text in TEXTS if not re.fullmatch(r"\w+", text, re.ASCII)])
def test_names_that_a_shell_could_misread_are_refused(text):
    for change in ({"experiment": text}, {"variants": {text: {}}}, {"discriminators": {text: {"kind": "dcgan"}}}):
        with pytest.raises(UserError):
            parse_settings(BASE | change)


def test_text_of_the_configuration_reaches_no_shell():
    """Rules run Python scripts, and processes are started from lists of arguments."""
    for path in [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]:
        assert not re.search(r"^\s*shell:", path.read_text(encoding="utf-8"), flags=re.MULTILINE), path
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")]:
        found = re.search(r"shell=True|os\.system|os\.popen|getoutput", path.read_text(encoding="utf-8"))
        assert found is None, path
