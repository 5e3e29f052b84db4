"""The fleet in the API: devices with their twins, commands, events and health; sites, zones and files."""

from __future__ import annotations

from fastapi import APIRouter

from prahari_hub.fleet import api_commands, api_devices, api_live, api_places, api_topology, api_twins

router = APIRouter()
for part in (api_devices, api_twins, api_commands, api_live, api_places, api_topology):
    router.include_router(part.router)
