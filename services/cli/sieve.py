"""`holub sieve`: check a script, and try it on a message before it is put in force."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

sieve = typer.Typer(help="Sieve scripts.", no_args_is_help=True)


@sieve.command("test")
def try_script(
    script: Annotated[Path, typer.Argument(help="The script's file.")],
    message: Annotated[Path, typer.Argument(help="The message's file.")],
    envelope_from: Annotated[str, typer.Option(help="The reverse-path.")] = "",
    envelope_to: Annotated[str, typer.Option(help="The recipient.")] = "",
    trace: Annotated[bool, typer.Option(help="Then each test and action with its line.")] = False,
) -> None:
    """The actions that a script asks for, one a line; nothing is sent or stored."""
    from libs.protocols.sieve.action import Discard, describe
    from libs.protocols.sieve.fault import SieveError
    from libs.protocols.sieve.message import Message
    from libs.protocols.sieve.run import Surroundings
    from libs.protocols.sieve.script import compile_script

    try:
        compiled = compile_script(script.read_bytes())
    except SieveError as error:
        print(f"{script}:{error.line}:{error.column}: {error.text}", file=sys.stderr)
        raise typer.Exit(1) from None
    around = Surroundings(envelope_from, envelope_to, time.time(), clock=time.monotonic)
    result = compiled.run(Message(message.read_bytes()), around, explain=trace)
    for action in result.actions or (Discard(),):
        print(describe(action))
    for line in result.explained:
        print(line)
    if result.fault:
        print(f"the script broke off, so the message is kept: {result.fault}", file=sys.stderr)
        raise typer.Exit(1)
