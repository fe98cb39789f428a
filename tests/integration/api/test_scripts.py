"""Sieve scripts through the API."""

from __future__ import annotations

import pytest

from libs.common.scripts import MAX_OCTETS, MAX_SCRIPTS
from tests.integration.api.world import World


def _path(world: World, name: str = "") -> str:
    return f"/v1/accounts/{world.ours.account}/scripts" + (f"/{name}" if name else "")


async def test_an_account_keeps_its_own_scripts_and_one_runs(world: World) -> None:
    async with world.client(world.ours.keys["account"]) as client:
        made = await client.put(_path(world, "a/b c"), json={"content": "discard;\n"})
        on = await client.patch(_path(world, "a/b c"), json={"active": True})
        listed = (await client.get(_path(world))).json()
        renamed = await client.patch(_path(world, "a/b c"), json={"name": "holiday"})
        whole = (await client.get(_path(world, "holiday"))).json()

    assert (made.status_code, on.status_code, renamed.status_code) == (200, 200, 200)
    assert [(one["name"], one["active"]) for one in listed] == [("a/b c", True), ("main", False)]
    assert whole["content"] == "discard;\n"
    assert whole["active"] is True


async def test_a_script_that_is_not_valid_is_refused_with_its_place(world: World) -> None:
    async with world.root as client:
        answer = await client.put(_path(world, "main"), json={"content": 'keep;\nfileinto "x";'})
        kept = (await client.get(_path(world, "main"))).json()

    (error,) = answer.json()["errors"]
    assert answer.status_code == 422
    assert error["field"] == "content"
    assert error["rule"] == 'line 2, column 1: fileinto needs require "fileinto"'
    assert kept["content"] == "keep;"


async def test_the_active_script_is_not_removed(world: World) -> None:
    async with world.root as client:
        refused = await client.delete(_path(world, "main"))
        await client.patch(_path(world, "main"), json={"active": False})
        removed = await client.delete(_path(world, "main"))
        gone = await client.get(_path(world, "main"))

    assert refused.status_code == 422
    assert "deactivate it first" in refused.text
    assert (removed.status_code, gone.status_code) == (204, 404)


async def test_a_script_that_was_changed_meanwhile_is_not_overwritten(world: World) -> None:
    async with world.root as client:
        seen = (await client.get(_path(world, "main"))).headers["etag"]
        await client.put(_path(world, "main"), json={"content": "discard;"})
        late = await client.put(
            _path(world, "main"), json={"content": "stop;"}, headers={"If-Match": seen}
        )

    assert late.status_code == 412


async def test_there_is_a_limit_to_their_number_and_size(world: World) -> None:
    async with world.root as client:
        for number in range(MAX_SCRIPTS - 1):
            made = await client.put(_path(world, f"s{number}"), json={"content": "keep;"})
            assert made.status_code == 200, made.text
        more = await client.put(_path(world, "more"), json={"content": "keep;"})
        large = await client.put(_path(world, "main"), json={"content": "#" * MAX_OCTETS + "\n"})

    assert more.status_code == 422
    assert f"at most {MAX_SCRIPTS} scripts" in more.text
    assert large.status_code == 422


@pytest.mark.parametrize("name", ["%01", "x" * 129, "a%C2%80b"])
async def test_a_name_that_cannot_be_one_is_refused(world: World, name: str) -> None:
    async with world.root as client:
        answer = await client.put(_path(world, name), json={"content": "keep;"})

    assert answer.status_code == 422


async def test_a_name_that_is_taken_is_not_given_twice(world: World) -> None:
    async with world.root as client:
        await client.put(_path(world, "other"), json={"content": "keep;"})
        answer = await client.patch(_path(world, "other"), json={"name": "main"})

    assert answer.status_code == 409
