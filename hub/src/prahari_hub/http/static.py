"""Static files: what the build named by its hash is kept by browsers for good, the rest is asked for again."""

from __future__ import annotations

from pathlib import Path

from fastapi import Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

FOREVER = "public, max-age=31536000, immutable"


class HashedFiles(StaticFiles):
    """``dist/`` holds files whose names change with their content."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        hashed = path.startswith("dist/") and response.status_code in (200, 304)
        response.headers["Cache-Control"] = FOREVER if hashed else "no-cache"
        return response
