"""Forwards leave in a name of ours, and their bounces find the way back (SRS)."""

from __future__ import annotations

from libs.common.accounts import Directory
from libs.common.accounts.account import RecipientKind
from libs.common.admin import aliases
from tests.integration.delivery.post import DOMAIN, ROOT, Post

AWAY = "friend@far.example"


async def test_a_bounce_of_a_forward_goes_to_the_first_sender(post: Post) -> None:
    await aliases.put_alias(post.platform.database, ROOT, f"sales@{DOMAIN}", [AWAY], add=True)
    await post.send("sales")
    (out,) = await post.forwards()
    path = out.header.envelope.reverse_path
    local_part = path.partition("@")[0]
    directory = Directory(post.platform.database)

    assert path.startswith("SRS0=")
    assert path.endswith(f"@{DOMAIN}")
    assert await directory.recipient(path) is RecipientKind.LOCAL
    assert await directory.recipient(path.replace("elsewhere", "x")) is RecipientKind.UNKNOWN
    await post.send(local_part, sender="")

    back = next(one for one in await post.forwards() if one.header.mail_id != out.header.mail_id)
    assert [r.address for r in back.header.envelope.recipients] == ["you@elsewhere.example"]
    assert back.header.envelope.reverse_path == ""


async def test_what_our_own_people_write_keeps_its_sender(post: Post) -> None:
    await aliases.put_alias(post.platform.database, ROOT, f"sales@{DOMAIN}", [AWAY], add=True)

    await post.send("sales", sender=f"bob@{DOMAIN}")

    (out,) = await post.forwards()
    assert out.header.envelope.reverse_path == f"bob@{DOMAIN}"
