"""`holub backup` and `holub restore`: on one machine, and on PostgreSQL and S3."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from libs.common.blobstore import open_blobstore
from libs.common.db import open_database
from libs.common.db.migrate import begin_anew
from services.cli.backup.archive import Archive, Manifest
from services.cli.backup.progress import Progress
from services.cli.backup.tables import dump
from tests.servers.holub import DOMAIN, ROOT, Holub
from tests.servers.process import free_ports

# Nothing listens there, so what is relayed waits.
AWAY = f"127.0.0.1:{free_ports(1)[0]}"
ROLES = ("storage", "delivery", "filter", "relay", "imap", "ingress")
SEND = {"HOLUB_INGRESS_VERDICT_SECONDS": "0", "HOLUB_RELAY_ROUTES": f"*={AWAY}"}


def content(subject: str, body: bytes = b"hello") -> bytes:
    head = f"From: you@elsewhere.example\r\nSubject: {subject}\r\n\r\n".encode()
    return head + body + b"\r\n"


class Place:
    """One set of backends, on which a platform may run."""

    def __init__(self, folder: Path, database: str = "", blobs: str = "") -> None:
        folder.mkdir()
        self.blobs = blobs or f"file:{folder}/blobs"
        env = {"HOLUB_BLOB_URL": self.blobs, **SEND}
        if database:
            env["HOLUB_DATABASE_URL"] = database
        self.holub = Holub(folder, env)


@pytest.fixture
def one_machine(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "one")
    place.holub.prepare("alice", "bob")
    yield place
    place.holub.kill()


@pytest.fixture(params=["sqlite and files", "postgresql and s3"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Place, Place]]:
    """A platform that was, and an empty one of the same kind that is to take its place."""
    urls: list[tuple[str, str]] = [("", ""), ("", "")]
    if request.param.startswith("postgresql"):
        postgres = request.getfixturevalue("postgres")
        seaweedfs = request.getfixturevalue("seaweedfs")
        urls = [
            (
                postgres.url(postgres.new_database(migrated=False)),
                seaweedfs.url(seaweedfs.new_bucket()),
            )
            for _ in urls
        ]
    old, new = (Place(tmp_path / f"p{n}", *pair) for n, pair in enumerate(urls))
    old.holub.prepare("alice", "bob")
    yield old, new
    old.holub.kill()
    new.holub.kill()


def archive_of(tmp_path: Path) -> str:
    return str(tmp_path / "backups")


def subjects(messages: list[bytes]) -> list[str]:
    return sorted(m.split(b"Subject: ")[1].split(b"\r\n")[0].decode() for m in messages)


def uidvalidity(holub: Holub, name: str) -> int:
    with holub.imap(name) as client:
        client.select("INBOX", readonly=True)
        return int(client.response("UIDVALIDITY")[1][0] or 0)


def add_alias(holub: Holub) -> None:
    holub.must("alias", "create", f"team@{DOMAIN}", f"bob@{DOMAIN}", "x@elsewhere.example")


@pytest.mark.timeout(240)
def test_an_older_database_with_newer_segments_gets_all_that_was_accepted_since(
    places: tuple[Place, Place], tmp_path: Path
) -> None:
    """The drill: backup, more mail, the database is lost, the segments are not."""
    old, new = places
    add_alias(old.holub)
    old.holub.start(*ROLES)
    for number in range(3):
        old.holub.send(content(f"before {number}"), f"alice@{DOMAIN}")
    old.holub.wait_for("alice", 3)
    waiting = old.holub.send(content("team before"), f"team@{DOMAIN}")
    old.holub.wait_for("bob", 1)
    before = uidvalidity(old.holub, "alice")
    old.holub.must("backup", archive_of(tmp_path))
    big = b"x" * 400_000
    old.holub.send(content("since, large", big), f"alice@{DOMAIN}", f"bob@{DOMAIN}")
    team = old.holub.send(content("since, forwarded"), f"team@{DOMAIN}")
    old.holub.wait_for("alice", 4)
    old.holub.wait_for("bob", 3)
    with old.holub.imap("alice") as client:
        client.append("INBOX", "", None, content("saved since"))
    assert set(old.holub.stop()) == {0}
    # What is left of the old place: its segments.
    new.holub.env["HOLUB_BLOB_URL"] = old.blobs

    told = json.loads(new.holub.must("restore", archive_of(tmp_path), "--database-only", "--json"))

    assert (told["put_again"], told["saved_again"], told["unreadable"]) == (2, 1, [])
    twice = {item["mail_id"]: item["why"] for item in told["maybe_twice"]}
    assert twice[team] == "accepted after the time of the backup, and forwarded by an alias"
    assert [why for why in twice.values() if why.startswith("waiting for an attempt")]
    assert waiting not in twice  # its copy for bob was delivered, its forward is the row above
    new.holub.start(*ROLES)
    assert subjects(new.holub.wait_for("alice", 4)) == [
        "before 0",
        "before 1",
        "before 2",
        "since, large",
    ]
    assert subjects(new.holub.wait_for("bob", 3)) == [
        "since, forwarded",
        "since, large",
        "team before",
    ]
    assert subjects(new.holub.contents("alice", "Restored")) == ["saved since"]
    assert uidvalidity(new.holub, "alice") > before + 5000
    time.sleep(1)
    assert (new.holub.count("alice"), new.holub.count("bob")) == (4, 3)
    assert json.loads(new.holub.must("fsck", "--json", "--content"))["clean"]


@pytest.mark.timeout(240)
def test_all_of_it_comes_back_into_an_empty_place(
    places: tuple[Place, Place], tmp_path: Path
) -> None:
    old, new = places
    old.holub.start(*ROLES)
    for number in range(5):
        old.holub.send(content(f"number {number}"), f"alice@{DOMAIN}")
    old.holub.wait_for("alice", 5)
    with old.holub.imap("alice") as client:
        client.select("INBOX")
        client.store("2", "+FLAGS", "(\\Seen kept)")
    assert set(old.holub.stop()) == {0}
    old.holub.must("backup", archive_of(tmp_path))
    assert "is whole" in old.holub.must("backup", archive_of(tmp_path), "--verify")

    told = json.loads(new.holub.must("restore", archive_of(tmp_path), "--keep-uids", "--json"))

    assert (told["put_again"], told["maybe_twice"], told["unreadable"]) == (0, [], [])
    assert json.loads(new.holub.must("fsck", "--json", "--content"))["clean"]
    new.holub.start(*ROLES)
    with new.holub.imap("alice") as client:
        assert client.select("INBOX") == ("OK", [b"5"])
        assert b"kept" in client.fetch("2", "(FLAGS)")[1][0]
    # Ids go on where they were: the next message does not hit a number that is taken.
    new.holub.send(content("after"), f"alice@{DOMAIN}")
    assert len(new.holub.wait_for("alice", 6)) == 6
    new.holub.must("account", "create", f"carol@{DOMAIN}")


@pytest.mark.timeout(240)
def test_a_backup_of_one_machine_restores_into_the_cluster(
    one_machine: Place, tmp_path: Path, empty_postgres_url: str, s3_url: str
) -> None:
    holub = one_machine.holub
    holub.start(*ROLES)
    holub.send(content("one"), f"alice@{DOMAIN}")
    holub.send(content("two", b"y" * 300_000), f"alice@{DOMAIN}")
    holub.wait_for("alice", 2)
    assert set(holub.stop()) == {0}
    holub.must("backup", archive_of(tmp_path))

    cluster = Place(tmp_path / "cluster", empty_postgres_url, s3_url).holub
    cluster.must("restore", archive_of(tmp_path), "--keep-uids")

    assert json.loads(cluster.must("fsck", "--json", "--content"))["clean"]
    try:
        cluster.start(*ROLES)
        assert subjects(cluster.wait_for("alice", 2)) == ["one", "two"]
        assert asyncio.run(_records(s3_url)) == 2
    finally:
        cluster.kill()


async def _records(url: str) -> int:
    """What the sweeper sees: the index at the end of each object was made anew."""
    store = open_blobstore(url)
    try:
        return sum([1 for hour in await store.hours() async for _ in store.index(hour)])
    finally:
        await store.close()


def test_a_second_backup_copies_only_what_is_new_and_old_ones_are_forgotten(
    one_machine: Place, tmp_path: Path
) -> None:
    holub, folder = one_machine.holub, tmp_path / "backups"
    holub.start(*ROLES)
    holub.send(content("one", b"x" * 300_000), f"alice@{DOMAIN}")
    holub.wait_for("alice", 1)
    holub.must("backup", str(folder))
    archive = Archive(folder)
    (first,) = archive.manifests()
    inodes = {path: path.stat().st_ino for path in folder.glob("mail/*/*/*/*/*")}
    holub.send(content("two", b"y" * 300_000), f"alice@{DOMAIN}")
    holub.wait_for("alice", 2)
    time.sleep(1.1)  # names are of the second

    done = holub.command("backup", str(folder), "--keep", "1")

    assert done.returncode == 0
    assert "blobs: 1 new segments" in done.stderr
    (second,) = archive.manifests()
    assert second.name > first.name
    assert second.segments == first.segments + 1
    assert {path: path.stat().st_ino for path in inodes} == inodes
    assert not archive.folder(first.name).exists()
    assert (folder.stat().st_mode & 0o777, max(_modes(folder))) == (0o700, 0o600)


def _modes(folder: Path) -> list[int]:
    return [path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()]


def test_an_earlier_backup_is_restored_with_what_later_ones_know_of_since(
    one_machine: Place, tmp_path: Path
) -> None:
    holub, folder = one_machine.holub, tmp_path / "backups"
    holub.start(*ROLES)
    holub.send(content("one"), f"alice@{DOMAIN}")
    holub.wait_for("alice", 1)
    holub.must("backup", str(folder))
    time.sleep(1.1)
    holub.send(content("two"), f"alice@{DOMAIN}")
    holub.wait_for("alice", 2)
    holub.must("backup", str(folder))
    assert holub.stop() == [0]
    first = Archive(folder).manifests()[0].name

    place = Place(tmp_path / "new").holub
    told = json.loads(place.must("restore", str(folder), "--at", first, "--json"))

    assert told["put_again"] == 1
    try:
        place.start(*ROLES)
        assert subjects(place.wait_for("alice", 2)) == ["one", "two"]
    finally:
        place.kill()


def test_a_target_that_is_not_empty_is_refused_and_left_alone(
    one_machine: Place, tmp_path: Path
) -> None:
    holub = one_machine.holub
    holub.start(*ROLES)
    holub.send(content("one"), f"alice@{DOMAIN}")
    holub.wait_for("alice", 1)
    assert holub.stop() == [0]
    holub.must("backup", archive_of(tmp_path))

    full = holub.command("restore", archive_of(tmp_path))
    assert full.returncode == 1
    assert "the database is not empty: there are rows in " in full.stderr
    assert json.loads(holub.must("fsck", "--json", "--content"))["clean"]

    other = Place(tmp_path / "other").holub
    stray = other.folder / "blobs/mail/2026/01/01/00/0-stray"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"")
    blobs = other.command("restore", archive_of(tmp_path))
    assert blobs.returncode == 1
    assert "the blob store is not empty: mail/2026/01/01/00/0-stray" in blobs.stderr
    assert not (other.folder / "holub.db").exists() or _tables(other) == []


def _tables(holub: Holub) -> list[Any]:
    with sqlite3.connect(holub.folder / "holub.db") as database:
        return database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()


def test_a_restore_that_was_interrupted_goes_on(one_machine: Place, tmp_path: Path) -> None:
    holub = one_machine.holub
    holub.start(*ROLES)
    for number in range(3):
        holub.send(content(f"{number}", b"x" * 300_000), f"alice@{DOMAIN}")
    holub.wait_for("alice", 3)
    assert holub.stop() == [0]
    holub.must("backup", archive_of(tmp_path))
    (manifest,) = Archive(tmp_path / "backups").manifests()
    kept = Archive(tmp_path / "backups").catalogue(manifest)
    new = Place(tmp_path / "new")
    key = min(key for key, item in kept.items() if item.size)
    shutil.copytree(tmp_path / "backups/mail", new.holub.folder / "blobs/mail")
    for other in kept:
        if other != key:
            (new.holub.folder / "blobs" / other).unlink()

    new.holub.must("restore", archive_of(tmp_path))

    assert json.loads(new.holub.must("fsck", "--json", "--content"))["clean"]


def test_damage_is_said_where_it_is(one_machine: Place, tmp_path: Path) -> None:
    holub, folder = one_machine.holub, tmp_path / "backups"
    holub.start(*ROLES)
    holub.send(content("one", b"x" * 300_000), f"alice@{DOMAIN}")
    holub.wait_for("alice", 1)
    assert holub.stop() == [0]
    holub.must("backup", str(folder))
    (large,) = [p for p in folder.glob("mail/*/*/*/*/*") if p.stat().st_size > 300_000]
    raw = bytearray(large.read_bytes())
    raw[1000] ^= 1
    large.write_bytes(raw)

    verified = holub.command("backup", str(folder), "--verify")
    restored = Place(tmp_path / "new").holub.command("restore", str(folder))

    assert verified.returncode == restored.returncode == 1
    assert f"{large} does not match its checksum" in verified.stdout
    assert f"{large} does not match its checksum" in restored.stderr

    # The same in the blob store itself: the backup is kept, and says so.
    key = str(large.relative_to(folder))
    (holub.folder / "blobs" / key).write_bytes(raw)
    large.unlink()
    time.sleep(1.1)
    taken = holub.command("backup", str(folder))
    assert taken.returncode == 1
    assert f"{key} at 0: damaged, as the blob store has it" in taken.stdout
    # And gone from it altogether.
    (holub.folder / "blobs" / key).unlink()
    time.sleep(1.1)
    taken = holub.command("backup", str(folder))
    assert taken.returncode == 1
    assert f"{key}: not in the blob store, though rows refer to it" in taken.stdout


async def _older(url: str, folder: Path, revision: str) -> None:
    """A backup of a database that is at an older schema, with one account in it."""
    database, archive = open_database(url), Archive(folder)
    await begin_anew(database, revision)
    async with database.transaction() as transaction:
        for statement in (
            "INSERT INTO tenant (id, name, created_at) VALUES (1, 'main', 1)",
            "INSERT INTO domain (id, tenant_id, name, created_at) VALUES (1, 1, 'old.test', 1)",
            "INSERT INTO account (id, tenant_id, domain_id, address, created_at)"
            " VALUES (7, 1, 1, 'anna@old.test', 1)",
        ):
            await transaction.execute(text(statement))
    async with database.snapshot() as connection:
        tables = await dump(connection, archive, archive.folder("old"), Progress(), {})
    await database.close()
    digest = archive.write_catalogue("old", [])
    archive.write_manifest(Manifest("old", 1e9, 1e9, revision, tuple(tables), 0, 0, digest))


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_backup_of_an_older_schema_is_brought_to_this_one(
    request: pytest.FixtureRequest, tmp_path: Path, dialect: str
) -> None:
    """The tables are made as they were then, filled, and migrated."""
    folder = tmp_path / "backups"
    asyncio.run(_older(f"sqlite:///{tmp_path}/old.db", folder, "0003"))
    empty = "" if dialect == "sqlite" else request.getfixturevalue("empty_postgres_url")

    new = Place(tmp_path / "new", empty).holub
    new.must("restore", str(folder))

    (found,) = json.loads(new.must("account", "list", "--json"))
    assert found["address"] == "anna@old.test"
    path = folder / "backups/old/manifest.json"
    path.write_text(path.read_text().replace('"0003"', '"9999"'))
    refused = Place(tmp_path / "newer").holub.command("restore", str(folder))
    assert "is of schema 9999, which this version does not know" in refused.stderr


def test_mail_is_taken_while_a_backup_runs_and_nothing_is_lost_in_it(
    one_machine: Place, tmp_path: Path
) -> None:
    """Sent all the time; after the restore every message is there once."""
    holub, folder = one_machine.holub, tmp_path / "backups"
    holub.start(*ROLES)
    sent = 0
    process = subprocess.Popen(
        [sys.executable, "-m", "services.cli.main", "backup", str(folder)],
        env=holub.env,
        cwd=ROOT,
        stderr=subprocess.PIPE,
    )
    while process.poll() is None:
        holub.send(content(f"number {sent}"), f"alice@{DOMAIN}")
        sent += 1
    assert process.returncode == 0, process.stderr and process.stderr.read()
    holub.wait_for("alice", sent)
    assert holub.stop() == [0]

    new = Place(tmp_path / "new").holub
    told = json.loads(new.must("restore", str(folder), "--json"))

    assert told["unreadable"] == []
    try:
        new.start(*ROLES)
        time.sleep(2)
        found = subjects(new.contents("alice"))
        assert len(found) == len(set(found))
        records = asyncio.run(_records(f"file:{new.folder}/blobs"))
        assert len(found) == records > 0
        assert json.loads(new.must("fsck", "--json", "--content"))["clean"]
    finally:
        new.kill()
