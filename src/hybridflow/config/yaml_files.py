"""Reading YAML strictly: no key twice, no surprises of YAML 1.1, and every problem with file and line.

PyYAML, which snakemake uses too, keeps the last of two equal keys in silence and follows YAML 1.1, where ``010`` is 8,
``1:30`` is 90, ``no`` is false and ``1e-3`` is text. Scalars mean here what YAML 1.2 says (its core schema,
https://yaml.org/spec/1.2.2/#103-core-schema): 10, text, text and a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from hybridflow.runtime.errors import UserError


def read_config(*paths: str | Path, command_line: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The mappings of YAML files, later ones laid over earlier ones, and over them what ``snakemake --config`` says.

    Raises:
        UserError: a file cannot be read or is not valid.
    """
    config: dict[str, Any] = {}
    for path in paths:
        config = merge(config, read_yaml(path))
    return merge(config, resolve_text(dict(command_line or {})))


CHOICES = ("family", "loss")
"""Settings that choose a class, whose options are others."""


def merge(base: dict[str, Any], over: dict[str, Any], choices: tuple[str, ...] = CHOICES) -> dict[str, Any]:
    """``over`` laid over ``base``, mapping by mapping.

    Another family, loss or kind of discriminator takes none of the former's options.

    Args:
        choices: names of settings that choose a class.
    """
    if any(_chooses_anew(base.get(key), over.get(key)) for key in choices):
        return dict(over)
    merged = dict(base)
    for key, value in over.items():
        # Elsewhere a kind chooses no class: both kinds of dequantization have the same options.
        inside = (*CHOICES, "kind") if key == "discriminators" else choices
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value, inside) if both else value
    return merged


def _chooses_anew(before: Any, now: Any) -> bool:
    """Whether both are names, and different ones; a mapping is an entry that a user called ``loss``, say."""
    return isinstance(before, str) and isinstance(now, str) and before != now


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        UserError: the file cannot be read, is not UTF-8 or not valid YAML, has a key twice, or holds no mapping.
    """
    try:
        content = Path(path).read_bytes()
        text = content.decode("utf-8-sig")
        value = yaml.load(text, Loader=_StrictLoader)  # a SafeLoader
    except OSError as error:
        raise UserError(f"config: cannot read {path}: {error.strerror}; correct the path.") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"config: {path}, line {line}: it is not UTF-8 text; save it as UTF-8.") from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise UserError(f"config: {path}, line {line}: it holds a control character; remove it.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join((error.problem or str(error)).split())
        raise UserError(f"config: {path}, line {mark.line + 1}: {reason}; correct it.") from None
    except RecursionError:
        raise UserError(f"config: {path} is nested too deeply; a configuration has at most six levels.") from None
    if not isinstance(value, dict):
        raise UserError(f"config: {path} must hold a mapping of settings (`name: value`).")
    return value


def resolve_text(value: Any) -> Any:
    """What the texts in a value would be in a file: ``"false"`` is false and ``["0", "1"]`` is [0, 1].

    For ``snakemake --config``, which makes texts of all but the simplest values.
    """
    if isinstance(value, dict):
        return {key: resolve_text(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [resolve_text(entry) for entry in value]
    if isinstance(value, str):
        for pattern, convert in _SCALARS.values():
            if pattern.fullmatch(value) and len(value) < 1000:  # no longer number would be accepted
                return convert(value)
    return value


def _whole(text: str) -> int:
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


# The core schema of YAML 1.2.
_SCALARS: dict[str, tuple[re.Pattern[str], Callable[[str], Any]]] = {
    "null": (re.compile(r"null|Null|NULL|~|"), lambda text: None),
    "bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    "int": (re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"), _whole),
    "float": (
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        _float,
    ),
}


class _StrictLoader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}  # not those of YAML 1.1

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                name, line = (key.tag, key.value), key.start_mark.line + 1
                if name in first:
                    problem = f"the key `{key.value}` is there a second time (first in line {first[name]})"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                first[name] = line
        return node

    def construct_scalar_as(self, node: yaml.ScalarNode) -> Any:
        """A number, a truth value or null, also where a tag says that it is one."""
        pattern, convert = _SCALARS[node.tag.rpartition(":")[2]]
        text = self.construct_scalar(node)
        try:
            if pattern.fullmatch(text):
                return convert(text)
        except ValueError:  # a number of thousands of digits
            pass
        problem = f"{text[:40]!r} is not a usable value of {node.tag}"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


for _name, (_pattern, _) in _SCALARS.items():
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"({_pattern.pattern})$"), None)
    _StrictLoader.add_constructor(f"tag:yaml.org,2002:{_name}", _StrictLoader.construct_scalar_as)
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<$"), ["<"])
