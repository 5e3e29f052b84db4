"""Who is asking, and may they: the dependency that every route but log-in declares.

``http`` stands below ``access``; the composition root puts access's Authenticator into ``app.state.authenticator``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from fastapi import Request

from prahari_hub.errors import Forbidden
from prahari_hub.http.actor import Actor, Role
from prahari_hub.texts import N_, Series, Term

READERS = (Role.OPERATOR, Role.TECHNICIAN, Role.AUDITOR)


class Unauthenticated(Exception):
    """Nobody is signed in and no valid token was sent (401)."""


class Authenticator(Protocol):
    async def actor(self, request: Request) -> Actor | None:
        """The actor of this request by bearer token or session cookie (CSRF checked for writes by cookie), or None."""
        ...

    async def known(self, request: Request) -> bool:
        """Whether a valid token or session came with the request, whatever it may do: decided without its body."""
        ...


async def current_actor(request: Request) -> Actor:
    authenticator: Authenticator = request.app.state.authenticator
    actor = await authenticator.actor(request)
    if actor is None:
        raise Unauthenticated
    return actor


def require(*roles: Role) -> Callable[[Request], Awaitable[Actor]]:
    """A dependency that gives the actor if it is an admin or has one of ``roles``; Unauthenticated or Forbidden otherwise."""

    async def dependency(request: Request) -> Actor:
        actor = await current_actor(request)
        if actor.role is not Role.ADMIN and actor.role not in roles:
            raise Forbidden(
                N_("this needs the role {roles}; yours is {role}"),
                roles=Series(tuple(Term("role", role) for role in roles or (Role.ADMIN,)), N_(" or ")),
                role=Term("role", actor.role),
            )
        return actor

    return dependency
