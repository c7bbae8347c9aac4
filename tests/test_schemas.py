"""The catalogue's promises: golden examples, frozen published forms, documents that are up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pytest
from pydantic import Field

from schemas.errors import SchemaError
from schemas.events import (
    PUBLISHED,
    TYPES,
    Event,
    PhotoDeleted,
    PhotoHighlighted,
    PhotoIds,
    type_and_version,
)
from schemas.fields import Channel, Id
from schemas.publish import (
    EXAMPLES_FOLDER,
    PUBLISHED_FOLDER,
    asyncapi,
    check,
    differences,
    examples,
    json_schema,
    write,
)
from schemas.topics import ATTENDEES, EVENTS, TOPICS
from schemas.wire import decode, encode

every_version = pytest.mark.parametrize(
    "model", PUBLISHED, ids=lambda model: "{}-v{}".format(*type_and_version(model))
)


@every_version
def test_every_version_has_examples_that_decode_and_encode_to_themselves(model: type[Event]) -> None:
    golden = examples(model)
    assert golden
    for name, payload in golden.items():
        event = decode(json.dumps(payload).encode())
        assert type(event) is model, name
        assert json.loads(encode(event)) == payload, name


@every_version
def test_every_field_occurs_in_an_example_and_the_minimal_one_has_no_optional_field(
    model: type[Event],
) -> None:
    golden = examples(model)
    assert set().union(*golden.values()) == set(model.model_fields)
    schema = json_schema(model)
    # Fields with a default of their own, not None, are written even if nobody gave them.
    defaults = {name for name, field in schema["properties"].items() if field.get("default") is not None}
    assert set(golden["minimal"]) == {*schema["required"], *defaults}


def test_every_example_belongs_to_a_version() -> None:
    folders = {
        path.parent.relative_to(EXAMPLES_FOLDER).as_posix() for path in EXAMPLES_FOLDER.rglob("*.json")
    }
    assert folders == {"{}/v{}".format(*type_and_version(model)) for model in PUBLISHED}


def test_no_published_version_changed_and_the_documents_are_up_to_date(tmp_path: Path) -> None:
    """If this fails, a version was added or a text changed: run `gallery schemas`."""
    assert check() == []
    write(tmp_path)
    assert _tree(tmp_path) == _tree(PUBLISHED_FOLDER)


def _tree(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*.json")}


class Before(Event):
    """A photo went on a wall."""

    type: Literal["photo.hung"] = "photo.hung"
    version: Literal[1] = 1
    photo_id: Id
    wall: Id | None = None
    channel: Literal["email", "website"]
    photo_ids: PhotoIds


class Reworded(Before):
    """Somebody put a photo on a wall."""


class Changed(Event):
    """A photo went on a wall."""

    type: Literal["photo.hung"] = "photo.hung"
    version: Literal[1] = 1
    photo_id: Annotated[str, Field(min_length=2)] | None = None
    height: int
    channel: Literal["email", "social"]
    photo_ids: tuple[int, ...]


class Next(Changed):
    version: Literal[2] = 2  # type: ignore[assignment]  # a version of its own


def test_differences_says_what_breaks_a_published_form() -> None:
    assert differences(json_schema(Before), json_schema(Before)) == []
    assert differences(json_schema(Before), json_schema(Reworded)) == []
    assert differences(json_schema(Before), json_schema(Changed)) == [
        'channel: the value "website" is gone',
        'channel: the value "social" is new',
        "height is new",
        'photo_id: anyOf was not there and is [{"minLength": 2, "type": "string"}, {"type": "null"}]',
        "photo_id: default was not there and is null",
        'photo_id: pattern was "^[!-~]{1,128}$" and is not there',
        'photo_id: type was "string" and is not there',
        'photo_ids[]: pattern was "^[!-~]{1,128}$" and is not there',
        'photo_ids[]: type was "string" and is "integer"',
        "photo_ids: maxItems was 5000 and is not there",
        "wall is gone",
        "height is required now",
        "photo_id may be missing now",
    ]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (("additionalProperties",), True, "the event: additionalProperties was false and is true"),
        (("properties", "producer", "maxLength"), 100, "producer: maxLength was 200 and is 100"),
        (("properties", "occurred_at", "format"), None, 'occurred_at: format was "date-time" and is null'),
        (("properties", "version", "const"), 2, "version: const was 1 and is 2"),
        (
            ("properties", "visitor_id", "anyOf"),
            [{"type": "string"}, {"type": "null"}],
            'visitor_id: pattern was "^[!-~]{1,128}$" and is not there',
        ),
        # A field may be called like a keyword; only documentation is free to change.
        (("properties", "title"), {"type": "string"}, "title is new"),
        (("properties", "event_id"), {"format": "uuid", "type": "string", "description": "An id."}, None),
        (("title",), "Another title", None),
    ],
)
def test_every_kind_of_break_is_told(path: tuple[str, ...], value: Any, expected: str | None) -> None:
    published = json_schema(PhotoDeleted)
    current = json.loads(json.dumps(published))
    place = current
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert differences(published, current) == ([expected] if expected else [])


def test_a_changed_class_is_reported_and_not_written(tmp_path: Path) -> None:
    write(tmp_path, (Before,))
    before = _tree(tmp_path)
    assert check(tmp_path, (Reworded,)) == []
    assert "photo.hung v1: height is new" in check(tmp_path, (Changed,))
    with pytest.raises(SchemaError, match=r"photo\.hung v1: height is new.*add a class of the next version"):
        write(tmp_path, (Changed,))
    assert _tree(tmp_path) == before
    assert check(tmp_path, ()) == [
        "photo.hung v1: no class in schemas.events.PUBLISHED has this type and version"
    ]


def test_a_new_version_is_written_beside_the_old_one(tmp_path: Path) -> None:
    write(tmp_path, (Before,))
    written = write(tmp_path, (Before, Next))
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "photo.hung/v1.json",
        "photo.hung/v2.json",
        "asyncapi.json",
    ]
    assert check(tmp_path, (Before, Next)) == []


def test_json_schema_asks_for_what_decode_asks_for() -> None:
    schema = json_schema(PhotoHighlighted)
    assert schema["required"] == [
        *("event_id", "type", "version", "gallery_id", "occurred_at", "producer", "photo_id", "highlighted")
    ]
    assert schema["additionalProperties"] is False
    assert "$defs" not in schema


def test_asyncapi_has_every_topic_and_every_message_once() -> None:
    document = asyncapi()
    assert set(document["channels"]) == {topic.name for topic in TOPICS}
    messages = [name for channel in document["channels"].values() for name in channel["messages"]]
    assert sorted(messages) == sorted("{}.v{}".format(*type_and_version(model)) for model in PUBLISHED)
    assert set(document["channels"][ATTENDEES.name]["messages"]) == {
        "attendee.registered.v1",
        "attendee.erased.v1",
    }
    assert set(document["operations"]) == {f"ingest_{EVENTS.name}", f"ingest_{ATTENDEES.name}"}
    for reference in _references(document):
        place: Any = document
        for key in reference.removeprefix("#/").split("/"):
            place = place[key]


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [reference for value in node.values() for reference in _references(value)]
    return [reference for value in node for reference in _references(value)] if isinstance(node, list) else []


def test_names_of_the_catalogue() -> None:
    versions = [type_and_version(model) for model in PUBLISHED]
    assert len(set(versions)) == len(versions)
    assert versions == sorted(versions, key=lambda version: (TYPES.index(version[0]), version[1]))
    for model in PUBLISHED:
        assert model.__doc__, f"{model.__name__} needs a docstring: it is the description others read"
    assert "direct" in get_args(Channel)
