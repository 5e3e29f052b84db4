"""The generated schemas: up to date, valid, and of one mind with the models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from prahari_wire.channels import CHANNELS
from prahari_wire.command import CommandName, CommandState
from prahari_wire.events import KINDS
from prahari_wire.schemas import ARGUMENTS, asyncapi, main, named_models, schema_of, stale
from prahari_wire.topics import Down, Up


def references(value: Any) -> list[str]:
    match value:
        case dict():
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [found for part in value.values() for found in references(part)]
        case list():
            return [found for part in value for found in references(part)]
    return []


def resolve(document: Any, reference: str) -> Any:
    assert reference.startswith("#/"), reference
    for part in reference[2:].split("/"):
        document = document[part]
    return document


def test_the_generated_files_are_what_the_models_say():
    assert stale() == [], "run make fix"


def test_a_stale_file_fails_the_check_by_name(root: Path, capsys: pytest.CaptureFixture[str]):
    extra = root / "wire" / "schemas" / "event.left.over.json"
    extra.write_text("{}")
    try:
        said: list[str] = []
        assert main(["--check"], said.append) == 1
        assert "wire/schemas/event.left.over.json" in said[0]
    finally:
        extra.unlink()


@pytest.mark.parametrize(("name", "model"), list(named_models()))
def test_each_schema_is_a_valid_schema_without_dangling_references(name: str, model: Any):
    schema = schema_of(model)
    jsonschema.Draft202012Validator.check_schema(schema)
    for reference in references(schema):
        resolve(schema, reference)


def test_every_channel_and_kind_has_a_schema():
    assert set(CHANNELS) == {*Up, *Down}
    names = {name for name, _ in named_models()}
    assert {f"event.{kind}" for kind in KINDS} <= names
    assert set(ARGUMENTS) <= {str(name) for name in CommandName}


def test_the_asyncapi_document_is_whole():
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    for reference in references(document):
        resolve(document, reference)
    for name, schema in document["components"]["schemas"].items():
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
        jsonschema.Draft7Validator.check_schema(schema)
    for operation in document["operations"].values():
        channel = resolve(document, operation["channel"]["$ref"])
        way = "up" if operation["action"] == "send" else "down"
        assert channel["address"].split("/")[3] == way
        assert set(channel["parameters"]) == set(re.findall(r"\{(\w+)\}", channel["address"]))
        for message in operation["messages"]:
            assert "payload" in resolve(document, resolve(document, message["$ref"])["$ref"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_protocol_page_names_every_kind(kind: str, root: Path):
    assert f"`{kind}`" in (root / "docs" / "protocol.md").read_text(encoding="utf-8")


def test_the_protocol_page_draws_every_command_state(root: Path):
    page = (root / "docs" / "protocol.md").read_text(encoding="utf-8")
    assert all(str(state) in page for state in CommandState)
