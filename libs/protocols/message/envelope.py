"""The IMAP ENVELOPE of a header section, in wire form (RFC 9051 §7.5.2, RFC 3501 §7.4.2)."""

from __future__ import annotations

from libs.protocols.message.address import Address, parse_addresses
from libs.protocols.message.header import Header
from libs.protocols.message.wire import nstring


def envelope(header: Header) -> tuple[bytes, bool]:
    """The parenthesised list, and whether address lists were cut off.

    Values are as they stand in the header, unfolded but not decoded.
    """
    cut = False

    def addresses(name: bytes) -> bytes:
        nonlocal cut
        # More than one such field is an error (RFC 5322 §3.6), but all were addressed.
        values = header.all(name)
        if not values:
            return b""
        parsed = parse_addresses(b",".join(values) if len(values) > 1 else values[0])
        cut = cut or parsed.limited
        return b"".join([_address(one) for one in parsed.addresses])

    def single(name: bytes) -> bytes:
        nonlocal cut
        # Of several From fields, the first is the one that clients and DMARC look at.
        value = header.first(name)
        if not value:
            return b""
        parsed = parse_addresses(value)
        cut = cut or parsed.limited
        return b"".join([_address(one) for one in parsed.addresses])

    author = single(b"from")
    # RFC 9051 §7.5.2: absent or empty, these two are what From is.
    lists = [author, single(b"sender") or author, single(b"reply-to") or author]
    lists += [addresses(name) for name in (b"to", b"cc", b"bcc")]
    wire = b"(%b %b %b %b %b)" % (
        nstring(header.first(b"date")),
        nstring(header.first(b"subject")),
        b" ".join([b"(%b)" % one if one else b"NIL" for one in lists]),
        nstring(header.first(b"in-reply-to")),
        nstring(header.first(b"message-id")),
    )
    return wire, cut


def _address(address: Address) -> bytes:
    name, route, local_part, domain = address
    return b"(%b %b %b %b)" % (
        nstring(name or None),
        nstring(route or None),
        nstring(local_part),
        nstring(domain),
    )
