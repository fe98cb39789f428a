"""What MAIL and RCPT share: the path and its parameters, out of the argument."""

from __future__ import annotations

from libs.protocols.smtp.parameters import split_parameters
from libs.protocols.smtp.path import Path, PathError, parse_path
from libs.protocols.smtp.reply import Refusal, Reply

NEEDS_SMTPUTF8 = Reply(553, "5.6.7", "this address needs the SMTPUTF8 parameter")


def take_path(keyword: str, argument: str, *, null: bool) -> tuple[Path, dict[str, str]]:
    """`FROM:<a@b> SIZE=1` as the path and its parameters."""
    word, colon, rest = argument.partition(":")
    if word.strip().upper() != keyword or not colon:
        raise Refusal(Reply(501, "5.5.4", f"write {keyword}:<address>"))
    try:
        path, text = parse_path(rest.lstrip(), null=null)
    except PathError as error:
        status = "5.1.7" if keyword == "FROM" else "5.1.3"
        raise Refusal(Reply(501, status, str(error))) from error
    return path, split_parameters(text)
