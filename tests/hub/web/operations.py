"""Each operation of the API as (method, path), read off the routes: to make the whole document takes a second of every process that
collects tests."""

from __future__ import annotations

from fastapi.routing import iter_route_contexts
from prahari_hub.web.app import api_router

OPERATIONS = [
    (method.lower(), str(route.path_format))
    for route in iter_route_contexts(api_router().routes)
    for method in sorted(route.methods or ())
]
