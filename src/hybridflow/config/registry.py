"""Registries: plain dictionaries from a name in the configuration to its settings and its implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar

from hybridflow.config.fields import Section

T = TypeVar("T")


def imported(target: str | Callable[..., T]) -> Callable[..., T]:
    """What ``"package.module:name"`` names; anything else as it is."""
    if not isinstance(target, str):
        return target
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


@dataclass(frozen=True)
class Registered(Generic[T]):
    """One entry of a registry.

    Attributes:
        settings: its section of the configuration; free of torch, because the workflow reads it at every start.
        target: what implements it: ``"package.module:name"``, imported when it is first needed, or the object itself.
    """

    settings: type[Section]
    target: str | Callable[..., T]

    def load(self) -> Callable[..., T]:
        """The implementation."""
        return imported(self.target)

    @property
    def summary(self) -> str:
        """What it is, in one line: the first line of the settings' docstring, or their name if they have none."""
        return ((self.settings.__doc__ or "").strip() or self.settings.__name__).splitlines()[0]


Registry = Mapping[str, Registered[Any]]
