"""Wire models in the bodies of API requests: checked as strictly as what devices send, documented as what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from prahari_wire.base import Refused, validate
from pydantic import BaseModel

from prahari_hub.errors import Invalid

M = TypeVar("M", bound=BaseModel)


def strictly(model: type[M], *, path: str = "body") -> Callable[[Any], M]:
    """A validator that takes JSON values; Invalid names the field below ``path`` and what was expected there."""

    def check(value: Any) -> M:
        if isinstance(value, model):
            return value
        try:
            found = validate(model, value)
        except (Refused, RecursionError) as error:
            detail = error.detail if isinstance(error, Refused) else "nested too deep"
            where, _, expected = detail.partition(": ")
            raise Invalid(f"{path} is not accepted: {detail}", (f"{path}.{where}", expected)) from None
        if "\\u0000" in found.model_dump_json():
            raise Invalid(f"{path} is not accepted: a NUL character in the text", (path, "text without NUL"))
        return found

    return check
