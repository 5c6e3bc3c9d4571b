"""Types of settings, and how a setting says whether it influences results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict
from pydantic.fields import FieldInfo

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
RESERVED_NAMES = ("reference", "figures", "logs", "benchmarks", "pictures", "cards")
RESERVED_SUFFIXES = (".csv", ".md", ".tex", ".json", ".html", ".pdf", ".png")


def _no_bool(value: Any) -> Any:
    """Pydantic takes ``true`` for 1; it also reads the text that YAML 1.1 makes of ``1e-3`` (no dot), as it should."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be finite")
    return value


def _fits(value: int) -> int:
    if abs(value) >= 2**63:
        raise ValueError("must be less than 2^63")  # no array, seed or step counter is larger
    return value


def _not_reserved(value: str) -> str:
    if value in RESERVED_NAMES:
        raise ValueError(f"is taken by a folder of the results ({', '.join(RESERVED_NAMES)})")
    if value.endswith(RESERVED_SUFFIXES):
        raise ValueError(f"must not end like a file of the results ({', '.join(RESERVED_SUFFIXES)})")
    return value


Int = Annotated[int, Strict(), AfterValidator(_fits)]
Bool = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]
Float = Annotated[float, BeforeValidator(_no_bool), AfterValidator(_finite)]
PositiveInt = Annotated[Int, Field(ge=1)]
NonNegativeInt = Annotated[Int, Field(ge=0)]
PositiveFloat = Annotated[Float, Field(gt=0)]
Share = Annotated[Float, Field(ge=0, le=1)]
Fraction = Annotated[Float, Field(ge=0, lt=1)]
Name = Annotated[Text, Field(pattern=NAME_PATTERN), AfterValidator(_not_reserved)]


@dataclass(frozen=True)
class NotInKey:
    """Marks a field that says where, how fast or how often, and leaves results as they are (up to rounding)."""


@dataclass(frozen=True)
class AsBefore:
    """Marks a field that enters a key only if it has another value than the one that means "as before".

    Every field that is added later needs it: the keys of earlier results, which did not know the field, stay.

    Attributes:
        value: what makes results what they were before the field existed; {} for a section whose fields all do.
    """

    value: Any


@dataclass(frozen=True)
class InKeyAs:
    """Marks a field that keys know under an earlier name."""

    name: str


class Section(BaseModel):
    """A mapping of the configuration: unknown keys are errors, values never change.

    A result is stored under a key made of every setting that influences it. Whether a setting does is said at the
    field, by :class:`NotInKey` or :class:`AsBefore`; one without a mark always enters the key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def key_names(cls) -> dict[str, str]:
        """Under which name the key of a result knows each field that may enter it."""
        marked = {name: _marks(field) for name, field in cls.model_fields.items()}
        return {
            name: marks[InKeyAs].name if InKeyAs in marks else name
            for name, marks in marked.items()
            if NotInKey not in marks
        }

    def key_values(self) -> dict[str, Any]:
        """What of this section enters the key of a result, as JSON values."""
        values: dict[str, Any] = {}
        plain = self.model_dump(mode="json")
        for name, known_as in self.key_names().items():
            marks = _marks(type(self).model_fields[name])
            value = getattr(self, name)
            value = value.key_values() if isinstance(value, Section) else plain[name]
            if AsBefore not in marks or not _same(value, marks[AsBefore].value):
                values[known_as] = value
        return values


def _marks(field: FieldInfo) -> dict[type, Any]:
    return {type(mark): mark for mark in field.metadata}


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b  # 0 is not False
