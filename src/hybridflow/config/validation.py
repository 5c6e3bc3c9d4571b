"""Validation: every problem of a configuration in one sentence that names the key."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ValidationError

from hybridflow.config.fields import Section
from hybridflow.config.registry import Registry
from hybridflow.runtime.errors import UserError

S = typing.TypeVar("S", bound=Section)


def choose(registry: Registry, key: str, values: Mapping[str, Any], where: str, default: str | None = None) -> Any:
    """Validates a section whose class ``values[key]`` names in a registry.

    Raises:
        UserError: the name is not registered, or the section is not valid.
    """
    name = values.get(key, default)
    if name is None:
        raise UserError(f"config: `{where}.{key}` is missing{hint('', registry)}.")
    if not isinstance(name, str) or name not in registry:
        raise UserError(f"config: `{where}.{key}` is {shown(name)}, which is not known{hint(str(name), registry)}.")
    return validate(registry[name].settings, {**values, key: name}, where)


def validate(model: type[S], values: Any, where: str) -> S:
    """``values`` as a section; ``where`` is its key.

    Raises:
        UserError: names the first thing that is wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A list with a wrong entry also counts as too short; the entry alone is the problem.
        inside = {problem["loc"][:depth] for problem in found for depth in range(len(problem["loc"]))}
        problems = [problem for problem in found if problem["loc"] not in inside]
        more = f" ({len(problems) - 1} more after this one)" if len(problems) > 1 else ""
        raise UserError(f"config: {_sentence(model, problems[0], where)}{more}.") from None


def _sentence(model: type[Section], problem: Any, where: str) -> str:
    """One validation problem in words; ``loc`` is the path of keys pydantic followed."""
    path = [str(part) for part in problem["loc"] if not str(part).startswith(("function-", "constrained-"))]
    path = [part for part in path if part != "[key]"]
    key = ".".join([*([where] if where else []), *map(plain, path)])
    value = problem["input"]
    if problem["type"] == "extra_forbidden":
        names = _known_keys(model, path[:-1])
        return f"`{key}` is not a setting{hint(path[-1], names)}"
    if problem["type"] == "missing":
        return f"`{key}` is missing"
    if problem["type"] == "value_error" and isinstance(value, dict):  # a rule about several settings of one section
        message = str(problem["ctx"]["error"])
        return f"`{key}`: {message}" if key else message
    return f"`{key}` is {shown(value)}, but it {_requirement(problem)}"


# What pydantic's types of problems mean to someone who writes YAML.
_REQUIREMENTS = {
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "int_type": "must be a whole number",
    "invalid_key": "must be text",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "model_type": "must be a mapping of settings",
    "string_pattern_mismatch": "must start with a letter or digit and hold only letters, digits, '.', '_' and '-' "
    "(64 at most)",
    "string_type": "must be text",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entry",
    "tuple_type": "must be a list",
    "value_error": "{error}",
}


def _requirement(problem: Any) -> str:
    """What a value must be, in words that follow "but it"."""
    context = problem.get("ctx", {})
    if problem["type"] == "literal_error":
        allowed = typing.cast(str, context["expected"])
        names = [name.strip("'") for name in allowed.replace(" or ", ", ").split(", ")]
        guess = difflib.get_close_matches(str(problem["input"]), names)
        return f"must be {allowed}" + (f" (did you mean '{guess[0]}'?)" if guess else "")
    if problem["type"] in _REQUIREMENTS:
        return _REQUIREMENTS[problem["type"]].format(**context)
    message = problem["msg"].removeprefix("Input ").replace("should be", "must be")
    return message[0].lower() + message[1:]


def plain(text: str) -> str:
    """Text on one line, shortened: what a terminal would not print is written as an escape sequence."""
    text = text if len(text) <= 70 else text[:67] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: Any) -> str:
    """A value as YAML writes it, shortened."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of many digits, or lists in lists in lists
        text = "something very long" if isinstance(value, int) else "something nested very deeply"
    return text if len(text) <= 60 else text[:57] + "..."


def _known_keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """The setting names of the section at ``path``."""
    current: Any = model
    for part in path:
        if isinstance(current, type) and issubclass(current, BaseModel):
            current = current.model_fields[part].annotation
        else:
            current = typing.get_args(current)[1]  # dict[name, section]
        while typing.get_origin(current) in (Annotated, types.UnionType):
            current = typing.get_args(current)[0]
    return list(current.model_fields)


def hint(wrong: str, names: Iterable[str]) -> str:
    """What may have been meant, and what there is."""
    names = [str(name) for name in names]
    close = difflib.get_close_matches(wrong, names, n=1)
    guess = f"; did you mean `{close[0]}`?" if close else ""
    known = f" (known: {', '.join(names)})" if names else " (none is defined)"
    return f"{guess}{known}"
