"""Grammar fuzz against a whole gateway, in every state, octet by octet (M2)."""

from __future__ import annotations

import random

import pytest

from tests.integration.imap.running import ALICE, Raw, Running, message

WORDS = [
    b"FETCH", b"UID", b"SEARCH", b"STORE", b"COPY", b"MOVE", b"SELECT", b"EXAMINE", b"LIST",
    b"LSUB", b"STATUS", b"CREATE", b"DELETE", b"RENAME", b"EXPUNGE", b"CLOSE", b"NOOP",
    b"CAPABILITY", b"ID", b"ENABLE", b"CONDSTORE", b"NAMESPACE", b"SUBSCRIBE", b"CHECK",
    b"UNSELECT", b"SORT", b"THREAD", b"REPLACE", b"GETMETADATA", b"SETMETADATA", b"GETQUOTA",
    b"GETQUOTAROOT", b"COMPRESS", b"UNAUTHENTICATE", b"INBOX", b'""', b"*", b"1:*", b"1",
    b"2,4:1", b"0", b"(FLAGS UID)", b"BODY[]",
    b"BODY.PEEK[1.2]<0.9>", b"ENVELOPE", b"BODY[HEADER.FIELDS (A B)]", b"ALL", b"RFC822",
    b"+FLAGS", b"-FLAGS.SILENT", b"(\\Seen)", b"\\X", b"(CHANGEDSINCE 1)", b"(UNCHANGEDSINCE 0)",
    b"RETURN", b"(COUNT)", b"NOT", b"OR", b"TEXT", b"x", b"(MESSAGES SIZE)", b"NIL", b"(", b")",
    b"[", b"{3+}\r\nabc", b"{0+}\r\n", b'"q\\"s"', b"\x00", b"\xff\xfe", b"&AOQ-", b"a/b/c",
    b"%", b"~{1+}\r\nx", b"APPEND", b"MODSEQ", b"UNSEEN", b"KEYWORD", b"SINCE", b"1-Feb-2026",
    b"HEADER", b"LARGER", b"9999999999999999999", b"{7}", b"(DATE)", b"(REVERSE SUBJECT)",
    b"UTF-8", b"REFERENCES", b"REFS", b"ORDEREDSUBJECT", b"$", b"(SAVE)", b"(PARTIAL 1:2)",
    b"(PARTIAL -1:-1 COUNT)", b"QRESYNC", b"UIDONLY", b"UTF8=ACCEPT", b"IMAP4rev2", b"YOUNGER",
    b"(QRESYNC (1 1 1:3 (1 1)))",
    b"/private/a", b"(/shared/a \"v\")", b"(DEPTH 1)", b"BINARY[1]",
    b"BINARY.SIZE[2]", b"PREVIEW (LAZY)", b"SAVEDATE", b"EMAILID", b"(CHANGEDSINCE 1 VANISHED)",
    b"CATENATE (", b"URL", b'"/INBOX/;UID=1"', b"TEXT {1+}\r\nx", b"UTF8 (~{1+}\r\nx)",
    b"(USE (\\Sent))", b"(STATUS (MESSAGES))", b"(METADATA (/shared/a))",
]  # fmt: skip
NAMES = WORDS[:34]


def lines(seed: int, count: int) -> list[bytes]:
    chosen = random.Random(seed)
    found = []
    for number in range(count):
        words = [chosen.choice(NAMES)]
        words += [chosen.choice(WORDS) for _ in range(chosen.randrange(6))]
        found.append(b"t%d " % number + chosen.choice([b" ", b" ", b" ", b""]).join(words))
    return found


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("state", ["not authenticated", "authenticated", "selected"])
async def test_no_octets_get_anything_but_an_answer(
    gateway: Running, state: str, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    await gateway.deliver(*(message(n) for n in range(3)))
    client, heard = None, b""
    for number, line in enumerate(lines(len(state) * seed, 250)):
        if client is None:
            client = await Raw.connect(gateway, ALICE if state != "not authenticated" else "")
            if state == "selected":
                await client.ask(b"s SELECT INBOX\r\n")
        # Two lines behind each: an open literal `{7}` swallows the first, and no more than it.
        for octet in line + b"\r\n":
            client.writer.write(bytes([octet]))
        try:
            await client.send(b"y%05d NOOP\r\nz%d NOOP\r\n" % (number, number))
            answer = b"".join(await client.until(b"z%d" % number))
        except ConnectionError:
            # COMPRESS has begun, and what came next was not deflated.
            answer = b""
        heard += answer
        if b"* BYE" in answer or not answer or b"deflating" in answer:
            await client.close()
            client = None

    assert b"SERVERBUG" not in heard
    assert heard.count(b" OK ") > 100
    assert b"BAD" in heard
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err + printed.out
