"""JSON schema of a configuration file, for editors: ``python -m hybridflow.config.schema`` prints it."""

from __future__ import annotations

import json
from typing import Any

from hybridflow.config.adversarial import DISCRIMINATORS, LOSSES
from hybridflow.config.experiment import ExperimentFile
from hybridflow.config.extractors import EXTRACTORS
from hybridflow.config.generators import GENERATORS
from hybridflow.config.registry import Registry
from hybridflow.config.training import TrainingSettings

BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


def json_schema() -> dict[str, Any]:
    """The schema, without references: readers of schemas show what they find in place.

    A file may be laid over another one, so nothing is required; an entry of ``variants`` may be null.
    """
    schema = _plain(ExperimentFile.model_json_schema())
    sections = schema["properties"]
    generator, adversarial = _one_of(GENERATORS), _one_of(LOSSES)
    sections["generator"] |= generator
    sections["adversarial"] |= adversarial
    discriminator = {"anyOf": [_one_of(DISCRIMINATORS), {"type": "null"}]}
    sections["discriminators"]["patternProperties"] = dict.fromkeys(
        sections["discriminators"]["patternProperties"], discriminator
    )
    extractors = {name: _plain(entry.settings.model_json_schema()) for name, entry in EXTRACTORS.items()}
    sections["evaluation"]["properties"]["extractors"] |= {"properties": extractors, "additionalProperties": False}
    for entry in sections["variants"]["patternProperties"].values():
        for choice in entry["anyOf"]:
            if choice.get("type") == "object":
                choice["properties"]["generator"] |= generator
                choice["properties"]["adversarial"] |= adversarial
                choice["properties"]["training"] |= _plain(TrainingSettings.model_json_schema())
                variant = choice
    for entry in sections["sweep"]["patternProperties"].values():
        for choice in entry["anyOf"]:
            if choice.get("type") == "object":
                choice["properties"]["variant"] |= {
                    name: variant[name] for name in ("properties", "additionalProperties")
                }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _one_of(registry: Registry) -> dict[str, Any]:
    """Sections of any registered class; what all of them share is described once."""
    choices = [_plain(entry.settings.model_json_schema()) for entry in registry.values()]
    for name, choice in zip(registry, choices, strict=True):
        for field in choice["properties"].values():
            if "const" in field:
                field["description"] = f"{name}: {registry[name].summary}"
    if len(choices) == 1:
        return choices[0]
    first, *others = (choice["properties"] for choice in choices)
    shared = {name: field for name, field in first.items() if all(other.get(name) == field for other in others)}
    for choice in choices:
        choice["properties"] |= dict.fromkeys(shared, True)
    return {"properties": shared, "anyOf": choices}


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of pydantic's with its references resolved, its bounds named as JSON schema does, nothing required."""
    definitions = schema.get("$defs", {})

    def resolve(value: Any) -> Any:
        if isinstance(value, list):
            return [resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            target = definitions[value["$ref"].rpartition("/")[2]]
            return resolve(target | {key: item for key, item in value.items() if key != "$ref"})
        return {
            BOUNDS.get(key, key): resolve(item)
            for key, item in value.items()
            if key not in ("$defs", "title") and not (key == "required" and isinstance(item, list))
        }

    return resolve(schema)


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
