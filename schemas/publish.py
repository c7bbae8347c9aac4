"""What other teams read: JSON Schema per event version and one AsyncAPI document, made from the models.

`schemas/published/` holds the forms that are on the wire. They are frozen: a version that is
published changes in nothing but titles and descriptions; a change is a new version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from schemas.errors import SchemaError
from schemas.events import PUBLISHED, Event, type_and_version
from schemas.topics import SOURCES, TOPICS, Topic, topic_of

PUBLISHED_FOLDER: Final = Path(__file__).with_name("published")
EXAMPLES_FOLDER: Final = Path(__file__).with_name("examples")

_DOCUMENTATION: Final = ("$schema", "title", "description")
_ABSENT: Final = object()
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema(model: type[Event]) -> dict[str, Any]:
    """What decode accepts for this version, as far as JSON Schema can say it."""
    schema = model.model_json_schema()
    for field in schema["properties"].values():
        field.pop("title", None)  # only the name again, in other letters
    # The models fill in their own type and version; on the wire both must be there.
    required = {*schema["required"], "type", "version"}
    for name in ("type", "version"):
        schema["properties"][name].pop("default")
    return {
        "$schema": _DIALECT,
        "title": "{} version {}".format(*type_and_version(model)),
        "description": schema.get("description", ""),
        "type": "object",
        "properties": schema["properties"],
        "required": [name for name in schema["properties"] if name in required],
        "additionalProperties": schema["additionalProperties"],
    }


def differences(published: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """What breaks a frozen form, in words; titles and descriptions may differ."""
    return list(_differences("", published, current))


def _differences(where: str, published: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[str]:
    name = where or "the event"
    for key in sorted({*published, *current}.difference(_DOCUMENTATION)):
        old, new = published.get(key, _ABSENT), current.get(key, _ABSENT)
        match key, old, new:
            case _ if old == new:
                pass
            case "properties", dict(), dict():
                yield from _field_differences(where, old, new)
            case "required", list(), list():
                yield from (f"{_path_of(where, field)} is required now" for field in sorted({*new} - {*old}))
                yield from (
                    f"{_path_of(where, field)} may be missing now" for field in sorted({*old} - {*new})
                )
            case "enum", list(), list():
                yield from (
                    f"{name}: the value {json.dumps(value)} is gone" for value in old if value not in new
                )
                yield from (
                    f"{name}: the value {json.dumps(value)} is new" for value in new if value not in old
                )
            case "items", dict(), dict():
                yield from _differences(f"{where}[]", old, new)
            case "anyOf", list(), list() if len(old) == len(new):
                for one, other in zip(old, new, strict=True):
                    yield from _differences(where, one, other)
            case _:
                was, now = ("not there" if form is _ABSENT else json.dumps(form) for form in (old, new))
                yield f"{name}: {key} was {was} and is {now}"


def _field_differences(where: str, published: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[str]:
    for field in sorted({*published, *current}):
        path = _path_of(where, field)
        if field not in current:
            yield f"{path} is gone"
        elif field not in published:
            yield f"{path} is new"
        else:
            yield from _differences(path, published[field], current[field])


def _path_of(where: str, field: str) -> str:
    return f"{where}.{field}" if where else field


def check(folder: Path = PUBLISHED_FOLDER, published: Sequence[type[Event]] = PUBLISHED) -> list[str]:
    """Every break between the forms in `folder` and the models, in words; a version not there yet is none."""
    current = {_file(folder, model): model for model in published}
    broken = []
    for path in sorted(folder.glob("*/v*.json")):
        version = f"{path.parent.name} {path.stem}"
        if model := current.get(path):
            frozen = json.loads(path.read_text("utf-8"))
            broken += [f"{version}: {what}" for what in differences(frozen, json_schema(model))]
        else:
            broken.append(f"{version}: no class in schemas.events.PUBLISHED has this type and version")
    return broken


def write(folder: Path = PUBLISHED_FOLDER, published: Sequence[type[Event]] = PUBLISHED) -> list[Path]:
    """Write `<type>/v<version>.json` of every model and `asyncapi.json`; the paths written.

    Raises SchemaError, with nothing written, if a form that is already there would break.
    """
    if broken := check(folder, published):
        raise SchemaError(
            f"a published version would change ({'; '.join(broken)}). "
            "Leave its class as it was and add a class of the next version with `upcast`."
        )
    documents = {_file(folder, model): json_schema(model) for model in published}
    documents[folder / "asyncapi.json"] = asyncapi(published)
    for path, document in documents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return list(documents)


def _file(folder: Path, model: type[Event]) -> Path:
    event_type, version = type_and_version(model)
    return folder / event_type / f"v{version}.json"


def examples(model: type[Event]) -> dict[str, Any]:
    """The golden examples of a version: name of the file → the event as JSON."""
    folder = _file(EXAMPLES_FOLDER, model).with_suffix("")
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}


def asyncapi(published: Sequence[type[Event]] = PUBLISHED) -> dict[str, Any]:
    """The topics and their messages as an AsyncAPI 3.0 document, seen from the pipeline: it receives."""
    by_name = {"{}.v{}".format(*type_and_version(model)): model for model in published}
    messages = {name: _message(name, model) for name, model in by_name.items()}
    schemas = {name: json_schema(model) for name, model in by_name.items()}
    for schema in schemas.values():
        del schema["$schema"]  # not a keyword inside an AsyncAPI document
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Gallery Analytics",
            "version": "1.0.0",
            "description": "Facts about photo galleries at events. One JSON event is one Kafka message.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic, by_name) for topic in TOPICS},
        "operations": {
            f"ingest_{topic.name}": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{topic.name}"},
                "summary": f"Ingest reads {topic.name}.",
            }
            for topic in SOURCES
            if _messages_of(topic, by_name)
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _messages_of(topic: Topic, by_name: Mapping[str, type[Event]]) -> list[str]:
    return [name for name, model in by_name.items() if topic_of(type_and_version(model)[0]) == topic]


def _channel(topic: Topic, by_name: Mapping[str, type[Event]]) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"The message key is {topic.key}.",
        "messages": {
            name: {"$ref": f"#/components/messages/{name}"} for name in _messages_of(topic, by_name)
        },
        "bindings": {
            "kafka": {
                "partitions": topic.partitions,
                "topicConfiguration": {"cleanup.policy": [topic.cleanup], "retention.ms": topic.retention_ms},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _message(name: str, model: type[Event]) -> dict[str, Any]:
    event_type, _ = type_and_version(model)
    return {
        "name": event_type,
        "title": name,
        "summary": model.__doc__ or "",
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "examples": [{"name": title, "payload": payload} for title, payload in examples(model).items()],
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": topic_of(event_type).key},
                "bindingVersion": "0.5.0",
            }
        },
    }
