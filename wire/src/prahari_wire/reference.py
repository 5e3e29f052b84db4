"""The page docs/protocol.md: tables of channels, messages and event kinds, made from the models and their docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel

from prahari_wire.base import DeviceId, PeripheralId, Reason, Sha256, Ulid
from prahari_wire.channels import CHANNELS
from prahari_wire.command import CommandName
from prahari_wire.events import KINDS
from prahari_wire.schemas import ARGUMENTS, DOCUMENTS, Schema
from prahari_wire.topics import Up

_PATTERNS = {
    get_args(alias)[1].pattern: name
    for name, alias in {
        "ULID": Ulid,
        "SHA-256 in hex": Sha256,
        "device id": DeviceId,
        "peripheral id": PeripheralId,
    }.items()
}


def protocol_page(template: str) -> str:
    """``template`` with its {{channels}}, {{kinds}}, {{messages}}, {{commands}} and {{reasons}} filled in."""
    parts = {
        "channels": channels_table(),
        "kinds": kinds_table(),
        "commands": commands_table(),
        "reasons": "\n".join(f"- `{reason}`" for reason in Reason),
        "messages": "\n".join(model_sections()),
    }
    for name, text in parts.items():
        template = template.replace("{{" + name + "}}", text)
    return template.rstrip() + "\n"


def channels_table() -> str:
    rows = ["| topic | QoS | at most | message | what |", "|---|---|---|---|---|"]
    for channel, row in CHANNELS.items():
        way = "up" if isinstance(channel, Up) else "down"
        rows.append(
            f"| `prahari/v1/{{device}}/{way}/{channel}` | {row.qos} | {row.limit // 1024} KiB"
            f" | {_link(_title(row.message))} | {row.says} |"
        )
    return "\n".join(rows)


def kinds_table() -> str:
    rows = ["| kind | class | body | what |", "|---|---|---|---|"]
    for kind, (body, cls) in KINDS.items():
        rows.append(
            f"| `{kind}` | {cls} | {_link(body.__name__)} | {_first_sentence(body).removeprefix(f'{kind}: ')} |"
        )
    return "\n".join(rows)


def commands_table() -> str:
    rows = ["| command | arguments |", "|---|---|"]
    for name in CommandName:
        arguments = ARGUMENTS.get(name)
        rows.append(
            f"| `{name}` | {_link(arguments.__name__) if arguments else '`peripheral`, where it has one'} |"
        )
    return "\n".join(rows)


def model_sections() -> Iterator[str]:
    """One section for each model and enumeration that any message reaches, messages first."""
    top = [row.message for row in CHANNELS.values()] + [body for body, _ in KINDS.values()]
    top += [*ARGUMENTS.values(), *DOCUMENTS.values()]
    seen: dict[str, type] = {}
    for model in top:
        for found in reachable(model):
            seen.setdefault(_title(found), found)
    for title, found in seen.items():
        yield f"### {title}\n"
        if doc := _doc(found):
            yield doc + "\n"
        yield (_enum_text(found) if issubclass(found, Enum) else _fields_table(found)) + "\n"


def reachable(model: type[BaseModel]) -> Iterator[type]:
    """``model`` and the models and enumerations in its fields, each once, depth first."""
    yield model
    for field in model.model_fields.values():
        for inner in _types_in(field.annotation):
            if issubclass(inner, BaseModel):
                yield from reachable(inner)
            elif issubclass(inner, Enum):
                yield inner


def _types_in(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not isinstance(annotation, UnionType) and not get_args(annotation):
        yield annotation
    for part in get_args(annotation):
        yield from _types_in(part)


def _title(model: type) -> str:
    """Envelope[Birth] is called ``Envelope of Birth``, as a heading and a link can be."""
    return model.__name__.replace("[", " of ").replace("]", "")


def _link(title: str) -> str:
    return f"[{title}](#{title.lower().replace(' ', '-')})"


def _doc(model: type) -> str:
    text = model.__doc__ if model.__dict__.get("__doc__") else None
    if text is None or text.startswith("An enumeration"):
        return ""
    return inspect.cleandoc(text).replace("``", "`")


def _first_sentence(model: type) -> str:
    text = " ".join(_doc(model).split())
    head, dot, _ = text.partition(". ")
    return head + (dot.strip() or "")


def _enum_text(found: type[Enum]) -> str:
    """The values; a number's name beside it."""
    return (
        "One of "
        + ", ".join(
            f"`{item.value}` ({item.name.lower()})" if isinstance(item.value, int) else f"`{item.value}`"
            for item in found
        )
        + "."
    )


def _fields_table(model: type) -> str:
    assert issubclass(model, BaseModel)
    schema = model.model_json_schema()
    required = schema.get("required", [])
    rows = ["| field | type | default |", "|---|---|---|"]
    for name, part in schema.get("properties", {}).items():
        default = "required" if name in required else f"`{_default(part)}`"
        rows.append(f"| `{name}` | {describe(part, schema.get('$defs', {}))} | {default} |")
    return "\n".join(rows)


def _default(part: Schema) -> str:
    value = part.get("default")
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return "{…}" if value else "{}"
    return str(value)


def describe(part: Schema, definitions: Schema) -> str:
    """A JSON Schema in a few words."""
    match part:
        case {"$ref": str(where)}:
            return _link(where.rpartition("/")[2])
        case {"const": value}:
            return f"`{value}`"
        case {"enum": list(values)}:
            return " or ".join(f"`{value}`" for value in values)
        case {"anyOf": list(choices)} | {"oneOf": list(choices)}:
            return " or ".join(describe(one, definitions) for one in choices)
    return _BY_TYPE[part["type"]](part, definitions) if "type" in part else "anything"


def _describe_array(part: Schema, definitions: Schema) -> str:
    if "prefixItems" in part:
        return "[" + ", ".join(describe(one, definitions) for one in part["prefixItems"]) + "]"
    return f"list{_size(part, 'minItems', 'maxItems')} of {describe(part['items'], definitions)}"


def _describe_object(part: Schema, definitions: Schema) -> str:
    values = part.get("additionalProperties")
    named = part.get("patternProperties")
    if isinstance(named, dict):
        pattern, inner = next(iter(named.items()))
        return f"object: {_PATTERNS.get(pattern, 'text')} to {describe(inner, definitions)}"
    if isinstance(values, dict):
        return f"object: text to {describe(values, definitions)}"
    return "object"


def _describe_text(part: Schema, _definitions: Schema) -> str:
    match part:
        case {"format": str(form)}:
            return {"uuid": "UUID", "date-time": "UTC time"}.get(form, form)
        case {"pattern": str(pattern)}:
            return _PATTERNS.get(pattern) or f"text `{pattern}`".replace("|", "\\|")
    return f"text{_size(part, 'minLength', 'maxLength')}"


def _describe_number(part: Schema, _definitions: Schema) -> str:
    bounds = (("exclusiveMinimum", ">"), ("minimum", "≥"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    said = [
        f"{sign} {'2^53' if part[name] == 2**53 else part[name]}" for name, sign in bounds if name in part
    ]
    return " ".join([part["type"], ", ".join(said)]).rstrip()


def _size(part: Schema, least_name: str, most_name: str) -> str:
    least, most = part.get(least_name) or 0, part.get(most_name)
    if most is None:
        return f" (≥ {least})" if least else ""
    return f" ({least} to {most})" if least else f" (≤ {most})"


_BY_TYPE: dict[str, Callable[[Schema, Schema], str]] = {
    "array": _describe_array,
    "object": _describe_object,
    "string": _describe_text,
    "integer": _describe_number,
    "number": _describe_number,
    "boolean": lambda _part, _definitions: "boolean",
    "null": lambda _part, _definitions: "null",
}
