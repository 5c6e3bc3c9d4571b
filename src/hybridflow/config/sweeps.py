"""Sweeps: one entry under ``sweep`` stands for many variants, one for every combination of listed values."""

from __future__ import annotations

import itertools
import math
import re
import string
from collections.abc import Iterator, Mapping
from typing import Any

from hybridflow.config.experiment import SweepEntry, VariantEntry
from hybridflow.config.fields import NAME_PATTERN
from hybridflow.config.validation import hint, plain, shown, validate
from hybridflow.config.yaml_files import merge
from hybridflow.runtime.errors import UserError

LIMIT = 1000  # variants of one sweep; more is a slip


def expand_sweeps(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """A configuration with its sweeps written out under ``variants``, and where each of these variants is from.

    A sweep that is ``null`` is left out. What is not a mapping is left for the validation of the whole.

    Returns:
        The configuration, and by name of an expanded variant what a message calls its place.

    Raises:
        UserError: a sweep is not valid, or its pattern does not give every variant a name of its own.
    """
    variants, sweeps = config.get("variants", {}), config.get("sweep")
    if not isinstance(sweeps, dict) or not isinstance(variants, dict):
        return config, {}
    places: dict[str, str] = {}
    for key, values in sweeps.items():
        if values is None:
            continue
        where = f"sweep.{plain(str(key))}"
        sweep = validate(SweepEntry, values, where)
        for name, entry in _variants(sweep, where):
            if variants.get(name) is not None:
                other = places.get(name, "variants").partition(" ")[0]
                raise UserError(
                    f"config: `{where}.name` gives a variant the name {name!r}, which one of `{other}` has; write "
                    "every setting that tells the two apart into the pattern, or remove one."
                )
            place = f"{where} ({name})"
            validate(VariantEntry, entry, place)
            variants, places[name] = variants | {name: entry}, place
    return config | {"variants": variants}, places


def _variants(sweep: SweepEntry, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and entry of every combination; the last setting changes fastest."""
    count = math.prod(len(values) for values in sweep.over.values())
    if count > LIMIT:
        raise UserError(f"config: `{where}.over` has {count} combinations, but {LIMIT} is the most; list fewer values.")
    for values in itertools.product(*sweep.over.values()):
        chosen = dict(zip(sweep.over, values, strict=True))
        swept: dict[str, Any] = {}
        for setting, value in chosen.items():
            swept = merge(swept, _nested(setting, value))
        entry = merge(sweep.variant, swept)  # once: another loss drops the variant's options, and none that is swept
        name = _fill(sweep.name, chosen, f"{where}.name")
        if not re.fullmatch(NAME_PATTERN, name):
            raise UserError(
                f"config: `{where}.name` gives a variant the name {shown(name)}, but names start with a letter or "
                "digit and hold only letters, digits, '.', '_' and '-' (64 at most); change the pattern."
            )
        if isinstance(entry.get("init_from"), str):
            entry = entry | {"init_from": _fill(entry["init_from"], chosen, f"{where}.variant.init_from")}
        yield name, entry


def _nested(setting: str, value: Any) -> dict[str, Any]:
    """``{"a": {"b": value}}`` for ``a.b``."""
    first, _, rest = setting.partition(".")
    return {first: _nested(rest, value) if rest else value}


class _Pattern(string.Formatter):
    """Python's format strings whose fields are dotted settings, or their last part where that is one setting's."""

    def get_field(self, field_name: str, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, str]:
        found = [name for name in kwargs if name == field_name or name.endswith(f".{field_name}")]
        if field_name not in kwargs and len(found) != 1:
            raise KeyError(field_name)
        return kwargs[field_name if field_name in kwargs else found[0]], field_name


def _fill(pattern: str, chosen: Mapping[str, Any], where: str) -> str:
    try:
        return _Pattern().vformat(pattern, (), chosen)
    except KeyError as error:
        field = str(error.args[0])
        raise UserError(
            f"config: `{where}` has {shown('{' + field + '}')}, which is not one setting of `over`"
            f"{hint(field, [plain(name) for name in list(chosen)[:20]])}."
        ) from None
    except (ValueError, TypeError, OverflowError, MemoryError):
        raise UserError(
            f"config: `{where}` is {shown(pattern)}, which does not fit the values under `over`; write a setting as "
            "`{setting}`, or a number as `{setting:g}`."
        ) from None
