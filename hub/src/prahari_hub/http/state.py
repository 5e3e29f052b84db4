"""What routes find in ``request.app.state``: parts that the composition root put there."""

from __future__ import annotations

from fastapi import Request

from prahari_hub.store import Store


def store_of(request: Request) -> Store:
    store: Store = request.app.state.store
    return store
