"""Users, API tokens, the audit log, and who one is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from prahari_hub.access import audit, tokens, users
from prahari_hub.http.actor import Actor, Role
from prahari_hub.http.auth import current_actor, require
from prahari_hub.http.parameters import Cursor, Limit
from prahari_hub.http.state import store_of

router = APIRouter(tags=["access"])
Admin = Annotated[Actor, Depends(require())]
Auditor = Annotated[Actor, Depends(require(Role.AUDITOR))]
Anyone = Annotated[Actor, Depends(current_actor)]


class Me(BaseModel):
    name: str
    role: Role
    kind: Literal["user", "token", "system", "device"]
    locale: str


class UserOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    name: str
    role: Role
    locale: str
    disabled: bool
    locked_until: datetime | None
    created_at: datetime


class UserList(BaseModel):
    items: list[UserOut]
    next: None = None


class NewUser(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=users.NAME)
    password: str = Field(max_length=200)
    role: Role
    locale: Literal["en", "hi"] = "en"


class UserChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Role | None = None
    disabled: bool | None = None
    locale: Literal["en", "hi"] | None = None


class NewPassword(BaseModel):
    model_config = ConfigDict(extra="forbid")

    password: str = Field(max_length=200)


class TokenOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    role: Role
    scopes: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class TokenMade(TokenOut):
    """``token`` is shown this once."""

    token: str


class TokenList(BaseModel):
    items: list[TokenOut]
    next: None = None


class NewToken(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=60)
    role: Role
    scopes: list[Literal["read", "write"]] = Field(["read"], min_length=1, max_length=2)
    days: int = Field(90, ge=1, le=366)


class AuditOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    reason: str | None
    detail: dict[str, Any]
    sealed: bool


class AuditList(BaseModel):
    items: list[AuditOut]
    next: str | None


@router.get("/me")
async def me(actor: Anyone) -> Me:
    return Me(name=actor.name, role=actor.role, kind=actor.kind, locale=actor.locale)


@router.get("/users")
async def list_users(request: Request, actor: Admin) -> UserList:
    found = await store_of(request).read(users.listed)
    return UserList(items=[UserOut.model_validate(user) for user in found])


@router.post("/users", status_code=201)
async def add_user(request: Request, new: NewUser, actor: Admin) -> UserOut:
    made = await store_of(request).write(
        lambda unit: users.add(unit, actor, new.name, password=new.password, role=new.role, locale=new.locale)
    )
    return UserOut.model_validate(made)


@router.patch("/users/{name}")
async def change_user(request: Request, name: str, change: UserChange, actor: Admin) -> UserOut:
    given = change.model_dump()
    changed = await store_of(request).write(lambda unit: users.change(unit, actor, name, **given))
    return UserOut.model_validate(changed)


@router.put("/users/{name}/password", status_code=204)
async def set_password(request: Request, name: str, new: NewPassword, actor: Admin) -> None:
    await store_of(request).write(lambda unit: users.set_password(unit, actor, name, new.password))


@router.get("/tokens")
async def list_tokens(request: Request, actor: Admin) -> TokenList:
    found = await store_of(request).read(tokens.listed)
    return TokenList(items=[TokenOut.model_validate(token) for token in found])


@router.post("/tokens", status_code=201)
async def create_token(request: Request, new: NewToken, actor: Admin) -> TokenMade:
    token, text = await store_of(request).write(
        lambda unit: tokens.create(
            unit, actor, new.name, role=new.role, scopes=new.scopes, life=timedelta(days=new.days)
        )
    )
    return TokenMade(**TokenOut.model_validate(token).model_dump(), token=text)


@router.delete("/tokens/{token_id}")
async def revoke_token(request: Request, token_id: str, actor: Admin) -> TokenOut:
    revoked = await store_of(request).write(lambda unit: tokens.revoke(unit, actor, token_id))
    return TokenOut.model_validate(revoked)


Word = Annotated[str | None, Query(max_length=120)]


@router.get("/audit")
async def list_audit(
    request: Request,
    actor: Auditor,
    *,
    by: Annotated[str | None, Query(max_length=120, description="who did it")] = None,
    action: Word = None,
    subject: Word = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> AuditList:
    """Newest first; ``action`` and ``subject`` match from the beginning."""
    wanted = audit.Filter(by, action, subject, since, until)
    found = await store_of(request).read(lambda conn: audit.page(conn, wanted, limit=limit, cursor=cursor))
    return AuditList(items=[AuditOut.model_validate(entry) for entry in found.items], next=found.next)
