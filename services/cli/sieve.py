"""`holub sieve`: scripts of accounts; try one on a message before it is put in force."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from services.cli.resources import Json

sieve = typer.Typer(help="Sieve scripts.", no_args_is_help=True)

Address = Annotated[str, typer.Argument(help="The account's address.")]
Script = Annotated[str, typer.Argument(metavar="NAME", help="The script's name.")]


def _call(method: str, address: str, *name: str, body: Any = None) -> Any:
    from services.cli import client

    return client.call(method, client.path("accounts", address, "scripts", *name), body=body)


@sieve.command("put")
def put(
    address: Address,
    name: Script,
    file: Annotated[Path, typer.Argument(help="The script's file, or - for standard input.")],
    activate: Annotated[bool, typer.Option(help="Run it on new mail from now on.")] = False,
) -> None:
    """Store a script; one of that name is replaced."""
    raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        content = raw.decode()
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file} is not in UTF-8") from None
    body = {"content": content, **({"active": True} if activate else {})}
    made = _call("PUT", address, name, body=body)
    runs = "runs on new mail" if made["active"] else "is stored and does not run"
    print(f"script {name} of {address} {runs}")


@sieve.command("list")
def list_scripts(address: Address, json: Json = False) -> None:
    """The scripts of an account."""
    from services.cli import table

    table.show(_call("GET", address), json, f"Scripts of {address}")


@sieve.command("get")
def get(address: Address, name: Script) -> None:
    """Write a script to standard output."""
    sys.stdout.write(_call("GET", address, name)["content"])


@sieve.command("activate")
def activate(address: Address, name: Script) -> None:
    """Run this script on new mail, and no other."""
    _call("PATCH", address, name, body={"active": True})
    print(f"script {name} of {address} runs on new mail")


@sieve.command("deactivate")
def deactivate(address: Address, name: Script) -> None:
    """Run it no more."""
    _call("PATCH", address, name, body={"active": False})
    print(f"script {name} of {address} does not run")


@sieve.command("delete")
def delete(address: Address, name: Script) -> None:
    """Remove a script that does not run."""
    _call("DELETE", address, name)
    print(f"script {name} of {address} is gone")


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
