from __future__ import annotations

from fastapi.routing import APIRoute

from libs.common.admin.principal import PERMISSIONS, Principal, Role
from services.api.access import permission_of
from services.api.routes import RESOURCES


def test_every_permission_is_needed_by_an_operation_and_the_other_way_round() -> None:
    needed = {
        permission_of(route)
        for router in RESOURCES
        for route in router.routes
        if isinstance(route, APIRoute)
    }

    assert needed == set().union(*PERMISSIONS.values())


def test_a_scope_never_widens_a_role() -> None:
    key = Principal("key:x", Role.SUPPORT, scopes=frozenset({"keys:*", "trace:read"}))

    assert key.permissions == {"trace:read"}
