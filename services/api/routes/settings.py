"""/v1/settings: what is in force, secrets hidden."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from libs.common.admin.principal import Principal
from services.__main__ import ROLES
from services.api.access import Allow
from services.in_force import settings_in_force

router = APIRouter(prefix="/settings", tags=["settings"])
Read = Annotated[Principal, Depends(Allow("settings:read"))]


class Setting(BaseModel):
    """One knob of this process."""

    name: str
    value: str
    default: bool
    help: str


@router.get("", response_model=list[Setting])
async def list_settings(who: Read) -> Any:
    """Every setting of the platform and of each role, as this process sees them."""
    return [asdict(item) for item in settings_in_force(ROLES)]
