"""Configurations that went wrong in any way: each parses, or is refused by one sentence that names its key."""

import copy
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkout import Project
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridflow.config.experiment import Settings
from hybridflow.config.fields import NAME_PATTERN
from hybridflow.config.loading import load_settings, parse_settings
from hybridflow.runtime.errors import UserError
from hybridflow.store.keys import training_key

ROOT = Path(__file__).parents[2]
HOSTILE = "a; touch hacked"
TEXTS = [
    "",
    " ",
    HOSTILE,
    "$(touch hacked)",
    "`touch hacked`",
    "a\nb",
    "a\r\n\tb",
    "\x00",
    "\u2028",
    "\x1b[31mred",
    "ärger 図",
    "../../etc/passwd",
    "/absolute",
    "~",
    "{wildcards.variant}",
    "{0}",
    "%s%n",
    "nan",
    "1e999",
    "1_000",
    "-",
    "--help",
    "null",
    "x" * 100_000,
    "\ud800",
]
NUMBERS = [0, -1, 1, 2, 3, 17, 10**9, 10**30, 10**400, -(10**400), 0.0, -0.5, 0.5, 1.0, 1e-300, 1e308, 1e400]
ODD = [
    None,
    True,
    False,
    float("nan"),
    float("inf"),
    -float("inf"),
    b"bytes",
    {1, 2},
    object(),
    [],
    {},
    [[]],
    {"": None},
]
NESTED: list[Any] = [None, {"a": None}, {"a": {"b": {"c": None}}}, [None, [None]], {None: None}, {3: 4}, {(1, 2): 3}]
VALUES = st.one_of(
    st.sampled_from(TEXTS + NUMBERS + ODD + NESTED),
    st.text(max_size=20),
    st.integers(),
    st.floats(),
    st.recursive(st.none() | st.booleans() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)),
)


BASE = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def base() -> dict[str, Any]:
    return copy.deepcopy(BASE)


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The paths of all values inside nested mappings and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


PLACES = sorted(places(base()), key=str)
KINDS = ("set", "remove", "rename", "add", "wrap", "swap", "circle")


def mutate(config: dict[str, Any], kind: str, place: tuple, other: tuple, value: Any) -> None:
    """Changes one thing; a place that an earlier change removed is left alone."""
    if kind == "circle":
        config["variants"] |= {"p": {"init_from": "q"}, "q": {"init_from": "p"}}
        return
    target, donor = config, config
    try:
        for key in place[:-1]:
            target = target[key]
        for key in other:
            donor = donor[key]
        old = target[place[-1]]
        if kind == "set":
            target[place[-1]] = value
        elif kind == "remove":
            del target[place[-1]]
        elif kind == "wrap":
            target[place[-1]] = [old]
        elif kind == "swap":
            target[place[-1]] = copy.deepcopy(donor)
        elif kind == "rename":
            target[value] = target.pop(place[-1])
        else:
            target[value if isinstance(target, dict) else 0] = value
    except (KeyError, IndexError, TypeError):
        return


CHANGES = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(PLACES), st.sampled_from(PLACES), VALUES), min_size=1, max_size=3
)


def parses(config: Any) -> Settings | None:
    """The settings, or None after a sentence that is one; any other exception is a failure."""
    try:
        return parse_settings(config)
    except UserError as error:
        found = str(error)
    assert found.startswith("config: ")
    assert found.endswith(".")
    assert found.isprintable(), found
    assert len(found) < 1500, found
    assert "`" in found or "seeds" in found or "evaluation." in found or "mapping of settings" in found, found
    return None


def check(config: Any) -> None:
    accepted = parses(config)
    if accepted is None:
        return
    for name in [accepted.experiment, *accepted.variants, *accepted.discriminators]:
        assert re.fullmatch(NAME_PATTERN.rstrip("$"), name)
        assert name.isprintable()
    for name in accepted.variants:
        for seed in accepted.seeds:
            assert re.fullmatch("[0-9a-f]{12}", training_key(accepted, name, seed, "data"))


@settings(max_examples=600, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(CHANGES)
def test_changed_configurations_parse_or_are_refused(changes):
    config = base()
    for kind, place, other, value in changes:
        mutate(config, kind, place, other, value)
    check(config)


@pytest.mark.parametrize("value", [*TEXTS, *NUMBERS, *ODD, *NESTED], ids=range(len(TEXTS + NUMBERS + ODD + NESTED)))
def test_every_odd_value_in_many_places(value):
    for place in random.Random(len(repr(value))).sample(PLACES, 25):
        config = base()
        mutate(config, "set", place, (), value)
        check(config)


@pytest.mark.parametrize("text", [text for text in TEXTS if not re.fullmatch(r"[\w]+", text, re.ASCII)])
def test_names_that_a_shell_could_misread_are_refused(text):
    config = base()
    for change in (
        {"experiment": text},
        {"variants": {text: {}}},
        {"discriminators": {text: {"kind": "dcgan", "width": 3}}, "variants": {"a": {}}},
    ):
        assert parses(config | change) is None


def test_text_of_the_configuration_reaches_no_shell():
    """Rules run Python scripts, and processes are started from lists of arguments."""
    for path in [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]:
        assert not re.search(r"^\s*shell:", path.read_text(encoding="utf-8"), flags=re.MULTILINE), path
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")]:
        found = re.search(r"shell=True|os\.system|os\.popen|getoutput", path.read_text(encoding="utf-8"))
        assert found is None, path


# --- files ------------------------------------------------------------------------------------------------------------


FILES = {
    "circle of anchors": "training: &t\n  optimizer: *t\n",
    "deep": "training: " + "{a: " * 300 + "1" + "}" * 300 + "\n",
    "deeper than Python's stack": "training: " + "[" * 5000 + "]" * 5000 + "\n",
    "a thousand million entries": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join(9 * ['*' + a])}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "a Python object": "training: !!python/object/apply:os.system ['touch hacked']\n",
    "an unknown anchor": "training: *nowhere\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "tabs": "training:\n\tepochs: 3\n",
    "a control character": "training: {epochs: \x07}\n",
    "a huge number": "training: {epochs: " + "9" * 5000 + "}\n",
    "a huge hexadecimal number": "training: {batch_size: 0x" + "f" * 5000 + "}\nseeds: [0x" + "f" * 5000 + "]\n",
    "a date": "training: {epochs: 2024-01-01}\n",
    "a key that is a list": "? [a, b]\n: 1\n",
    "a key twice": "training: {epochs: 3, epochs: many}\n",
    "an impossible date": "training: {epochs: 2024-99-99}\n",
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_odd_files(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_settings(ROOT / "config.yaml", path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500
    assert not Path("hacked").exists()


SAMPLED = random.Random(0).sample(sorted(set(FILES) - {"a thousand million entries"}), 3)


@pytest.mark.workflow
def test_a_sample_of_them_through_snakemake(project: Project) -> None:
    texts = [FILES[name] for name in SAMPLED]
    texts.append(yaml.safe_dump({"experiment": HOSTILE, "sampling": {"seed": -1}}))
    for text in texts:
        project.write("odd.yaml", text)
        done = project.run(*project.snakemake_command("odd.yaml", "-n"), check=False)
        assert done.returncode != 0, text
        assert "Traceback" not in done.stdout, done.stdout
        assert not (project.path / "hacked").exists()


def test_the_snakefile_refuses_what_the_command_refuses(tmp_path):
    """The same sentence from both, for the same file."""
    path = tmp_path / "odd.yaml"
    path.write_text("experiment: '$(touch hacked)'\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "hybridflow.cli.main", "status", "--configfile", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: config: `experiment` is '$(touch hacked)', but it must start with a letter")
