"""Query parameters of every list. Apart from the paging itself, which a shell's commands also use: they need no FastAPI."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from prahari_hub.http.paging import MAX_CURSOR

Limit = Annotated[int, Query(ge=1, le=500, description="at most this many items")]
Cursor = Annotated[str | None, Query(max_length=MAX_CURSOR, description="the `next` of the page before")]
