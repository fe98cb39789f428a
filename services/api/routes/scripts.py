"""/v1/accounts/.../scripts: Sieve scripts, of which one may run on an account's new mail."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from libs.common.admin import scripts
from libs.common.admin.principal import Principal
from libs.common.scripts import MAX_NAME, MAX_OCTETS
from services.api.access import Allow, DatabaseOf
from services.api.conditional import Precondition, tagged
from services.api.idempotency import Idempotent
from services.api.model import Name, Strict

router = APIRouter(prefix="/accounts", tags=["scripts"], route_class=Idempotent)
Read = Annotated[Principal, Depends(Allow("scripts:read"))]
Write = Annotated[Principal, Depends(Allow("scripts:write"))]


class Script(BaseModel):
    """A script without its content."""

    name: str
    active: bool = Field(description="It runs on new mail; at most one of an account does.")
    fault: str = Field(description="Why it broke off first, since it was put; empty: never.")
    octets: int
    changed_at: float


class WholeScript(Script):
    """A script."""

    content: str


class ScriptText(Strict):
    """A script to store; it is refused with line and column when it is not valid."""

    content: str = Field(max_length=MAX_OCTETS, examples=["keep;"])
    active: bool | None = Field(default=None, description="null: as it was; a new one: inactive.")


class ScriptChange(Strict):
    """What is given is changed, the rest stays."""

    active: bool | None = None
    name: str | None = Field(default=None, min_length=1, max_length=MAX_NAME)


@router.get("/{address}/scripts", response_model=list[Script])
async def list_scripts(database: DatabaseOf, who: Read, address: Name) -> Any:
    """The scripts of an account."""
    return await scripts.list_of(database, who, address)


@router.get("/{address}/scripts/{script:path}", response_model=WholeScript)
async def get_script(
    database: DatabaseOf,
    who: Read,
    address: Name,
    script: Name,
    request: Request,
    response: Response,
) -> Any:
    """One script with its content."""
    return tagged(request, response, await scripts.get(database, who, address, script))


@router.put("/{address}/scripts/{script:path}", response_model=WholeScript)
async def put_script(
    database: DatabaseOf,
    who: Write,
    address: Name,
    script: Name,
    text: ScriptText,
    check: Precondition,
) -> Any:
    """Store a script under this name; one that is there is replaced."""
    return await scripts.put(
        database, who, address, script, text.content, active=text.active, check=check
    )


@router.patch("/{address}/scripts/{script:path}", response_model=WholeScript)
async def change_script(
    database: DatabaseOf,
    who: Write,
    address: Name,
    script: Name,
    change: ScriptChange,
    check: Precondition,
) -> Any:
    """Activate, deactivate or rename a script."""
    return await scripts.change(
        database, who, address, script, active=change.active, new_name=change.name, check=check
    )


@router.delete("/{address}/scripts/{script:path}", status_code=204)
async def delete_script(
    database: DatabaseOf, who: Write, address: Name, script: Name, check: Precondition
) -> None:
    """Remove a script that is not active."""
    await scripts.remove(database, who, address, script, check)
