"""The IMAP ENVELOPE of a header section, in wire form (RFC 9051 §7.5.2, RFC 3501 §7.4.2)."""

from __future__ import annotations

from typing import NamedTuple

from libs.protocols.message.address import Address, AddressList, parse_addresses
from libs.protocols.message.header import Header
from libs.protocols.message.wire import nstring

_NOBODY = AddressList((), False)


class Envelope(NamedTuple):
    """What IMAP shows of a header section."""

    wire: bytes
    """The parenthesised list."""
    author: tuple[Address, ...]
    """What From holds."""
    cut: bool
    """An address list was too long and has been cut off."""


def envelope(header: Header) -> Envelope:
    """The ENVELOPE; values are as they stand in the header, unfolded but not decoded."""
    # Of several From fields, the first is the one that clients and DMARC look at.
    author, *others = (_list(header.first(name)) for name in (b"from", b"sender", b"reply-to"))
    # More than one To is an error (RFC 5322 §3.6), but all of them were addressed.
    others += [_list(b",".join(header.all(name))) for name in (b"to", b"cc", b"bcc")]
    sender, reply_to, *recipients = (_wire(one) for one in others)
    from_wire = _wire(author)
    # RFC 9051 §7.5.2: absent or empty, these two are what From is.
    lists = [from_wire, sender or from_wire, reply_to or from_wire, *recipients]
    wire = b"(%b %b %b %b %b)" % (
        nstring(header.first(b"date")),
        nstring(header.first(b"subject")),
        b" ".join([one or b"NIL" for one in lists]),
        nstring(header.first(b"in-reply-to")),
        nstring(header.first(b"message-id")),
    )
    return Envelope(wire, author.addresses, author.limited or any(one.limited for one in others))


def _list(value: bytes | None) -> AddressList:
    return parse_addresses(value) if value else _NOBODY


def _wire(addresses: AddressList) -> bytes:
    if not addresses.addresses:
        return b""
    return b"(%b)" % b"".join([_address(one) for one in addresses.addresses])


def _address(address: Address) -> bytes:
    name, route, local_part, domain = address
    return b"(%b %b %b %b)" % (
        nstring(name or None),
        nstring(route or None),
        nstring(local_part),
        nstring(domain),
    )
