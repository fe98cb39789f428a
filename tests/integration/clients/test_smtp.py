"""SMTP with clients that we did not write; the EHLO list names these tests."""

from __future__ import annotations

import base64
import smtplib
import socket
import subprocess
import time

import pytest

from services.ingress.extensions import EXTENSIONS
from tests.servers.holub import DOMAIN, PASSWORD, Holub
from tests.servers.needed import needed

CONTENT = "From: you@elsewhere.example\r\nSubject: hi\r\n\r\nhello\r\n"
BOB = f"bob@{DOMAIN}"
FROM_BOB = f"From: {BOB}\r\nSubject: hi\r\n\r\nhello\r\n"


def test_every_announced_extension_names_a_test_of_this_file() -> None:
    assert {extension.test for extension in EXTENSIONS} <= set(globals())


def test_smtplib_hears_enhanced_status_codes(holub: Holub) -> None:
    with holub.smtp() as client:
        client.ehlo()
        client.mail("you@elsewhere.example")

        code, text = client.rcpt(f"nobody@{DOMAIN}")

        assert client.has_extn("enhancedstatuscodes")
        assert (code, text.split()[0]) == (550, b"5.1.1")


def test_smtplib_is_told_of_a_message_too_big(holub: Holub) -> None:
    with holub.smtp() as client:
        client.ehlo()
        assert client.esmtp_features["size"] == "2000000"
        assert client.mail("you@elsewhere.example", ["SIZE=2000001"])[0] == 552
        assert client.mail("you@elsewhere.example", ["SIZE=2000000"])[0] == 250


@pytest.mark.parametrize(("octets", "code"), [(1_999_999, 250), (2_000_000, 250), (2_000_001, 552)])
def test_content_of_the_largest_size_is_taken_and_one_octet_more_is_not(
    holub: Holub, octets: int, code: int
) -> None:
    head = b"Subject: big\r\n\r\n"
    line = b"x" * 78 + b"\r\n"
    body = (head + line * (octets // 80 + 1))[: octets - 2] + b"\r\n"
    body = body.replace(b"\r\r\n", b"x\r\n")
    with holub.smtp() as client:
        client.ehlo()
        client.mail("you@elsewhere.example")
        client.rcpt(f"carol@{DOMAIN}")

        assert len(body) == octets
        assert client.data(body)[0] == code


def test_swaks_sends_pipelined(holub: Holub) -> None:
    needed("swaks")
    done = subprocess.run(
        [
            "swaks",
            *("--server", f"127.0.0.1:{holub.ports['smtp']}"),
            "--pipeline",
            *("--from", "you@elsewhere.example"),
            *("--to", f"carol@{DOMAIN}"),
            *("--body", "piped"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout
    assert "PIPELINING" in done.stdout


def test_swaks_says_for_whom_it_comes_with_xclient(holub: Holub) -> None:
    needed("swaks")
    done = subprocess.run(
        [
            "swaks",
            *("--server", f"127.0.0.1:{holub.ports['smtp']}"),
            *("--xclient", "NAME=client.example ADDR=192.0.2.7"),
            *("--from", "you@elsewhere.example"),
            *("--to", f"grace@{DOMAIN}"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout
    (found,) = holub.wait_for("grace", 1)
    assert b"192.0.2.7" in found.partition(b"\r\n\r\n")[0]


def test_smtplib_sends_eight_bits(holub: Holub) -> None:
    body = "Subject: eight\r\n\r\nGrüße\r\n".encode("latin-1")
    with holub.smtp() as client:
        client.sendmail("you@elsewhere.example", [f"dave@{DOMAIN}"], body, ["BODY=8BITMIME"])

    (found,) = holub.wait_for("dave", 1)
    assert found.endswith(body)


def test_smtplib_sends_to_an_internationalised_address(holub: Holub) -> None:
    with holub.smtp() as client:
        client.ehlo()
        client.mail("jösé@elsewhere.example", ["SMTPUTF8"])
        assert client.rcpt(f"jörg@{DOMAIN}")[0] == 550
        assert client.rcpt(f"carol@{DOMAIN}")[0] == 250
        assert client.data(CONTENT)[0] == 250
        code, text = client.docmd(
            "MAIL", "FROM:<jösé@elsewhere.example>".encode().decode("latin-1")
        )
        assert code in (500, 553), text


def test_smtplib_sends_dsn_parameters(holub: Holub) -> None:
    with holub.smtp() as client:
        client.ehlo()
        assert client.mail("you@elsewhere.example", ["RET=HDRS", "ENVID=abc"])[0] == 250
        options = ["NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;carol@{DOMAIN}"]
        assert client.rcpt(f"carol@{DOMAIN}", options)[0] == 250
        assert client.rcpt(f"carol@{DOMAIN}", ["NOTIFY=SOMETIMES"])[0] == 501
        assert client.data(CONTENT)[0] == 250


def bdat(client: smtplib.SMTP, chunk: bytes, last: str = "") -> tuple[int, bytes]:
    """One chunk as RFC 3030 has it."""
    client.send(f"BDAT {len(chunk)}{last}\r\n".encode() + chunk)
    return client.getreply()


def test_smtplib_sends_the_chunks_of_rfc_3030(holub: Holub) -> None:
    """The dialogue of RFC 3030 §4.2: 100,000, 324 and 0 octets, the last of them LAST."""
    first = (b"Subject: chunks\r\n\r\n.\r\n" + b"x" * 78 + b"\r\n") * 1000
    with holub.smtp() as client:
        client.ehlo("cnri.reston.va.us")
        assert client.has_extn("chunking")
        assert client.mail("ned@ymir.claremont.example")[0] == 250
        assert client.rcpt(f"frank@{DOMAIN}")[0] == 250

        assert bdat(client, first[:100_000]) == (250, b"2.0.0 100000 octets received")
        assert bdat(client, first[100_000:])[0] == 250
        assert bdat(client, b"", " LAST")[0] == 250

    (found,) = holub.wait_for("frank", 1)
    assert found.endswith(first)


@pytest.mark.parametrize(
    ("chunks", "codes"),
    [
        ([1_999_998, 1], [250, 250, 250]),
        ([1_999_999, 1], [250, 250, 250]),
        ([1_999_999, 2], [250, 552, 503]),
    ],
)
def test_chunks_are_counted_together(holub: Holub, chunks: list[int], codes: list[int]) -> None:
    with holub.smtp() as client:
        client.ehlo()
        client.mail("you@elsewhere.example")
        client.rcpt(f"carol@{DOMAIN}")

        got = [bdat(client, b"x" * octets)[0] for octets in chunks]

        assert [*got, bdat(client, b"", " LAST")[0]] == codes
        assert client.noop()[0] == 250


def test_after_a_chunk_there_is_no_rcpt_and_no_data_and_rset_ends_it(holub: Holub) -> None:
    with holub.smtp() as client:
        client.ehlo()
        client.mail("you@elsewhere.example")
        client.rcpt(f"carol@{DOMAIN}")
        bdat(client, b"Subject: x\r\n")

        assert client.rcpt(f"carol@{DOMAIN}")[0] == 503
        assert client.docmd("DATA")[0] == 503
        assert client.rset()[0] == 250
        assert bdat(client, b"QUIT\r\n", " LAST")[0] == 503
        assert client.noop()[0] == 250


def test_lmtp_answers_the_last_chunk_for_each_recipient(holub: Holub) -> None:
    with smtplib.LMTP("localhost", holub.ports["lmtp"], timeout=40) as client:
        client.ehlo()
        client.mail("you@elsewhere.example")
        client.rcpt(f"carol@{DOMAIN}")
        client.rcpt(f"dave@{DOMAIN}")
        assert bdat(client, b"Subject: x\r\n\r\nx\r\n", " LAST")[0] == 250
        assert client.getreply()[0] == 250
        assert client.noop() == (250, b"2.0.0 OK")


@pytest.mark.parametrize("length", ["-1", "99999999999999999999", "", "5 LASTING"])
def test_a_chunk_of_unknown_length_ends_the_session(holub: Holub, length: str) -> None:
    """CVE-2017-16943, CVE-2017-16944 (Exim): what follows must not be read as commands."""
    got = converse(holub, ENVELOPE, f"BDAT {length}\r\nNOOP\r\n".encode())

    assert got.rstrip().splitlines()[-1].startswith(b"421 4.5.4")


@pytest.mark.parametrize("bad", [b"a\nb\r\n", b"a\rb\r\n", b"a\r"])
@pytest.mark.parametrize("chunked", [False, True])
def test_octets_that_no_message_may_have_are_refused(
    holub: Holub, bad: bytes, chunked: bool
) -> None:
    with holub.smtp() as client:
        client.ehlo()
        client.mail("you@elsewhere.example")
        client.rcpt(f"carol@{DOMAIN}")
        if chunked:
            assert bdat(client, bad, " LAST")[0] == 550
        else:
            client.docmd("DATA")
            client.send(bad + b"\r\n.\r\n")
            assert client.getreply()[0] == 550
        assert client.noop()[0] == 250


def test_the_announced_limit_of_recipients_is_the_one_in_force(holub: Holub) -> None:
    """RFC 9422 §4.2: RCPTMAX, at -1, 0 and +1."""
    with holub.smtp() as client:
        client.ehlo()
        assert client.esmtp_features["limits"] == "RCPTMAX=100"
        client.mail("you@elsewhere.example")
        local_parts = [f"carol+{n}" for n in range(101)]

        codes = [client.rcpt(f"{local_part}@{DOMAIN}")[0] for local_part in local_parts]

        assert codes == [250] * 100 + [452]


def test_vrfy_and_expn_and_help_tell_nothing_of_who_exists(holub: Holub) -> None:
    with holub.smtp() as client:
        client.ehlo()
        assert client.vrfy(f"carol@{DOMAIN}") == client.vrfy(f"nobody@{DOMAIN}")
        assert client.vrfy("x")[0] == 252
        assert client.docmd("VRFY")[0] == 501
        assert client.expn("staff")[0] == 502
        assert client.docmd("HELP")[0] == 214
        assert client.docmd("NOOP", "whatever")[0] == 250


def test_smtplib_upgrades_to_tls(holub: Holub) -> None:
    with holub.smtp() as client:
        client.starttls(context=holub.tls())
        client.ehlo()
        assert not client.has_extn("starttls")
        client.sendmail("you@elsewhere.example", [f"carol@{DOMAIN}"], CONTENT)


def test_smtplib_requires_tls_for_the_whole_way(holub: Holub) -> None:
    with holub.smtp() as client:
        client.ehlo()
        assert not client.has_extn("requiretls")
        assert client.mail("you@elsewhere.example", ["REQUIRETLS"])[0] == 555
        client.starttls(context=holub.tls())
        client.ehlo()
        assert client.has_extn("requiretls")
        assert client.mail("you@elsewhere.example", ["REQUIRETLS=1"])[0] == 501
        assert client.mail("you@elsewhere.example", ["REQUIRETLS"])[0] == 250
        assert client.rcpt(f"carol@{DOMAIN}")[0] == 250
        assert client.data(CONTENT)[0] == 250


def test_smtplib_logs_in(holub: Holub) -> None:
    with smtplib.SMTP("localhost", holub.ports["submission"], timeout=40) as client:
        client.ehlo()
        assert not client.has_extn("auth")
        client.starttls(context=holub.tls())
        with pytest.raises(smtplib.SMTPAuthenticationError) as wrong:
            client.login(f"bob@{DOMAIN}", "wrong password")
        assert wrong.value.smtp_code == 535
        client.login(f"bob@{DOMAIN}", PASSWORD)
        client.sendmail(BOB, [f"carol@{DOMAIN}"], FROM_BOB)


def test_smtplib_logs_in_where_tls_is_from_the_start(holub: Holub) -> None:
    with smtplib.SMTP_SSL(
        "localhost", holub.ports["submissions"], context=holub.tls(), timeout=40
    ) as client:
        client.login(f"bob@{DOMAIN}", PASSWORD)
        client.sendmail(BOB, [f"carol@{DOMAIN}"], FROM_BOB)


def test_who_logged_in_may_not_send_as_somebody_else(holub: Holub) -> None:
    with smtplib.SMTP("localhost", holub.ports["submission"], timeout=40) as client:
        client.starttls(context=holub.tls())
        client.login(f"bob@{DOMAIN}", PASSWORD)

        assert client.mail(f"alice@{DOMAIN}")[0] == 553


def test_lmtp_answers_for_each_recipient(holub: Holub) -> None:
    with smtplib.LMTP("localhost", holub.ports["lmtp"], timeout=40) as client:
        refused = client.sendmail(
            "you@elsewhere.example", [f"carol@{DOMAIN}", f"nobody@{DOMAIN}"], CONTENT
        )

    assert list(refused) == [f"nobody@{DOMAIN}"]


@pytest.mark.parametrize(
    "recipient",
    [
        "victim@far.example",
        "victim%far.example@" + DOMAIN,
        f"@{DOMAIN}:victim@far.example",
        '"victim@far.example"',
        f'"victim@far.example"@{DOMAIN}',
        f"victim@far.example@{DOMAIN}",
        "victim@[127.0.0.1]",
    ],
)
def test_nobody_relays_without_logging_in(holub: Holub, recipient: str) -> None:
    """I8, with the forms that open relays fell for."""
    with holub.smtp() as client:
        client.ehlo()
        client.mail("spammer@far.example")

        assert client.docmd("RCPT", f"TO:<{recipient}>")[0] >= 500


def converse(holub: Holub, *pieces: bytes, listener: str = "smtp", seconds: float = 20) -> bytes:
    with socket.create_connection(("127.0.0.1", holub.ports[listener]), 20) as sock:
        sock.settimeout(seconds)
        received = sock.recv(4096)
        for piece in pieces:
            sock.sendall(piece)
            time.sleep(0.2)
        try:
            while data := sock.recv(65536):
                received += data
        except TimeoutError:
            pass
    return received


ENVELOPE = f"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<erin@{DOMAIN}>\r\n".encode()


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r"])
def test_a_smuggled_end_of_content_is_no_end(holub: Holub, end: bytes) -> None:
    """CVE-2023-51764 and its kin: one message must never be read as two."""
    smuggled = b"a" + end + b"MAIL FROM:<boss@ours.example>\r\nRCPT TO:<x>\r\nDATA\r\nb\r\n.\r\n"

    got = converse(holub, ENVELOPE + b"DATA\r\n", smuggled, b"QUIT\r\n")

    assert got.count(b"queued as") == 0
    assert b"550 5.6.11" in got
    assert got.rstrip().endswith(b"221 2.0.0 goodbye")


def test_commands_slipped_in_before_the_tls_handshake_are_thrown_away(holub: Holub) -> None:
    """CVE-2011-0411."""
    slipped = b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<evil@x.example>\r\n"
    # It waits for a handshake that does not come.
    got = converse(holub, slipped, seconds=3)

    assert b"220 2.0.0 go ahead" in got
    assert b"sender OK" not in got


def test_a_command_without_crlf_is_refused_and_the_session_goes_on(holub: Holub) -> None:
    got = converse(holub, b"NOOP\n", b"NOOP\r\n", b"QUIT\r\n")

    assert b"500 5.5.2" in got
    assert b"250 2.0.0 OK" in got


def test_a_client_that_goes_after_its_dot_has_its_message_delivered_or_not_at_all(
    holub: Holub,
) -> None:
    body = ENVELOPE + b"DATA\r\nSubject: gone\r\n\r\nx\r\n.\r\n"
    with socket.create_connection(("127.0.0.1", holub.ports["smtp"]), 20) as sock:
        sock.sendall(body)
        time.sleep(0.3)

    holub.wait_for("erin", 1)


def test_passwords_are_not_taken_without_tls(holub: Holub) -> None:
    secret = base64.b64encode(f"\0bob@{DOMAIN}\0{PASSWORD}".encode())

    got = converse(
        holub, b"EHLO x\r\nAUTH PLAIN " + secret + b"\r\nQUIT\r\n", listener="submission"
    )

    assert b"538 5.7.11" in got
