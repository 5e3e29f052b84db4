"""Write wire/schemas/ (JSON Schema, AsyncAPI 3) and docs/protocol.md from the models.

python -m prahari_wire.schemas            write
python -m prahari_wire.schemas --check    exit 1 and name the files that are not what the models say
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from prahari_wire.base import VERSION
from prahari_wire.callbox import CallboxConfig, LampArgs
from prahari_wire.camera import CameraConfig
from prahari_wire.channels import CHANNELS
from prahari_wire.display import DisplayConfig, PreviewArgs
from prahari_wire.events import KINDS
from prahari_wire.live import LiveArgs
from prahari_wire.recording import HoldArgs, ReleaseArgs, SendArgs, TransferManifest
from prahari_wire.redaction import RedactArgs
from prahari_wire.seed import Seed
from prahari_wire.topics import DEVICE_ID, Down, Up
from prahari_wire.twin import Desired

Schema = dict[str, Any]
ROOT = Path(__file__).resolve().parents[3]
DIALECT = "https://json-schema.org/draft/2020-12/schema"

ARGUMENTS: dict[str, type[BaseModel]] = {
    "callbox.lamp": LampArgs,
    "camera.live": LiveArgs,
    "display.preview": PreviewArgs,
    "recording.hold": HoldArgs,
    "recording.redact": RedactArgs,
    "recording.release": ReleaseArgs,
    "recording.send": SendArgs,
}
DOCUMENTS: dict[str, type[BaseModel]] = {
    "desired": Desired,
    "camera": CameraConfig,
    "callbox": CallboxConfig,
    "display": DisplayConfig,
    "seed": Seed,
    "transfer": TransferManifest,
}


def message_name(channel: Up | Down) -> str:
    """The name of a channel's message, of its schema file too."""
    return "event-batch" if channel is Up.EVENT else str(channel)


def schema_of(model: type[BaseModel]) -> Schema:
    schema = model.model_json_schema()
    if "Event" in schema.get("$defs", {}):
        _add_event_bodies(schema)
    return schema


def _add_event_bodies(schema: Schema) -> None:
    """Tie each event's ``body`` to its ``kind``, which the models do one by one."""
    rules = []
    for kind, (body, _) in KINDS.items():
        part = body.model_json_schema()
        schema["$defs"].update(part.pop("$defs", {}))
        schema["$defs"][body.__name__] = part
        rules.append(
            {
                "if": {"properties": {"kind": {"const": kind}}},
                "then": {"properties": {"body": {"$ref": f"#/$defs/{body.__name__}"}}},
            }
        )
    event = schema["$defs"]["Event"]
    event["allOf"] = rules
    event["properties"]["kind"]["enum"] = list(KINDS)


def named_models() -> Iterator[tuple[str, type[BaseModel]]]:
    """(schema file without ending, model) of everything that has a schema of its own."""
    for channel, row in CHANNELS.items():
        yield f"{'up' if isinstance(channel, Up) else 'down'}.{message_name(channel)}", row.message
    for kind, (body, _) in KINDS.items():
        yield f"event.{kind}", body
    for command, arguments in ARGUMENTS.items():
        yield f"command.{command}", arguments
    for name, document in DOCUMENTS.items():
        yield f"document.{name}", document


def asyncapi() -> Schema:
    """The AsyncAPI 3 document, from the device's side: it sends what goes up and receives what goes down."""
    channels: Schema = {}
    operations: Schema = {}
    components: Schema = {"messages": {}, "schemas": {}}
    for channel, row in CHANNELS.items():
        way = "up" if isinstance(channel, Up) else "down"
        name = message_name(channel)
        channels[str(channel)] = {
            "address": f"prahari/v{VERSION}/{{device}}/{way}/{channel}",
            "description": row.says,
            "parameters": {"device": {"description": f"The device id, {DEVICE_ID}"}},
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        }
        operations[f"{'send' if way == 'up' else 'receive'}-{channel}"] = {
            "action": "send" if way == "up" else "receive",
            "channel": {"$ref": f"#/channels/{channel}"},
            "summary": row.says,
            "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"}],
            "bindings": {"mqtt": {"qos": row.qos, "retain": False, "bindingVersion": "0.2.0"}},
        }
        components["messages"][name] = {
            "name": name,
            "contentType": "application/json",
            "summary": row.says,
            "payload": {"$ref": f"#/components/schemas/{name}"},
        }
        schema = schema_of(row.message)
        components["schemas"].update(schema.pop("$defs", {}))
        components["schemas"][name] = schema
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Prahari, between device and hub",
            "version": f"{VERSION}.0.0",
            "description": "MQTT 3.1.1 over mutual TLS. Nothing is retained and no broker queue is relied on.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": _as_draft_07(components),
    }


def _as_draft_07(value: Any) -> Any:
    """The same schemas in the dialect of AsyncAPI (JSON Schema draft 07), references into the components."""
    match value:
        case {"$ref": str(where)} if where.startswith("#/$defs/"):
            rest = {key: _as_draft_07(part) for key, part in value.items() if key != "$ref"}
            reference = {"$ref": where.replace("#/$defs/", "#/components/schemas/")}
            return {"allOf": [reference], **rest} if rest else reference
        case dict():
            found = {key: _as_draft_07(part) for key, part in value.items()}
            if isinstance(found.get("discriminator"), dict):
                del found["discriminator"]
            if "prefixItems" in found:
                found["items"] = found.pop("prefixItems")
            return found
        case list():
            return [_as_draft_07(part) for part in value]
    return value


def files() -> dict[Path, str]:
    """Every generated file and what it must hold."""
    from prahari_wire.reference import protocol_page

    folder = ROOT / "wire" / "schemas"
    found = {
        folder / f"{name}.json": _pretty(
            {"$schema": DIALECT, "$id": f"urn:prahari:v{VERSION}:{name}", **schema_of(model)}
        )
        for name, model in named_models()
    }
    found[folder / "asyncapi.json"] = _pretty(asyncapi())
    template = (ROOT / "wire" / "protocol.md.in").read_text(encoding="utf-8")
    found[ROOT / "docs" / "protocol.md"] = protocol_page(template)
    return found


def _pretty(value: Schema) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def stale() -> list[Path]:
    """Generated files that are missing, differ from the models, or belong to no model any more."""
    wanted = files()
    left_over = set((ROOT / "wire" / "schemas").glob("*.json")) - set(wanted)
    differing = {
        path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    return sorted(left_over | differing)


def main(arguments: list[str], say: Callable[[str], object] = sys.stdout.write) -> int:
    found = stale()
    names = ", ".join(str(path.relative_to(ROOT)) for path in found)
    if arguments == ["--check"]:
        say(f"stale, run make fix: {names}\n" if found else "generated schemas are up to date\n")
        return 1 if found else 0
    wanted = files()
    for path in found:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()
    say(f"written: {names}\n" if found else "nothing to write\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
