"""The commands.  What they need is imported when they run, so that `--help` is quick."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

app = typer.Typer(
    name="holub",
    help="Holub, the mail platform that always knows where your message is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
domain = typer.Typer(help="Domains that are ours.", no_args_is_help=True)
account = typer.Typer(help="Accounts: who logs in and owns mailboxes.", no_args_is_help=True)
alias = typer.Typer(help="Addresses that stand for others.", no_args_is_help=True)
queue = typer.Typer(help="The queues of work.", no_args_is_help=True)
key = typer.Typer(help="Keys of the management API.", no_args_is_help=True)
app.add_typer(domain, name="domain")
app.add_typer(account, name="account")
app.add_typer(alias, name="alias")
app.add_typer(queue, name="queue")
app.add_typer(key, name="key")

Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")]


@app.command()
def run(
    roles: Annotated[list[str], typer.Argument(help="Role names, or `all`.")],
    check: Annotated[bool, typer.Option(help="Print the settings in force, then exit.")] = False,
) -> None:
    """Run roles in this process until Ctrl-C or SIGTERM."""
    if check:
        from services.cli.check import print_settings

        print_settings(roles)
        return
    from services.__main__ import run_roles

    run_roles(roles)


@app.command()
def demo() -> None:
    """Run everything on this machine, with a demo domain, and try it once."""
    from services.cli.demo import run_demo

    run_demo()


@app.command()
def migrate() -> None:
    """Bring the database to the schema of this version."""
    from services.cli.administer import migrate_database

    print(f"the database is at revision {migrate_database()}")


@domain.command("create")
def domain_create(name: str, tenant: str = "default") -> None:
    """Take mail for a domain."""
    from services.cli.administer import new_domain

    new_domain(name, tenant)


@domain.command("list")
def domain_list(json: Json = False) -> None:
    """All domains."""
    from services.cli.administer import list_domains

    list_domains(json)


@account.command("create")
def account_create(
    address: str,
    count: Annotated[int, typer.Option(min=0, help="Make N of them: local-part1 to N.")] = 0,
    password_stdin: Annotated[
        bool, typer.Option(help="Read the password from standard input (else one is made).")
    ] = False,
    quota: Annotated[int, typer.Option(min=0, help="Octets; 0: no limit.")] = 0,
) -> None:
    """Create an account, or many with one password."""
    from services.cli.administer import new_accounts

    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    new_accounts(address, count, password, quota)


@account.command("list")
def account_list(json: Json = False) -> None:
    """All accounts and what they use."""
    from services.cli.administer import list_accounts

    list_accounts(json)


@account.command("password")
def account_password(address: str) -> None:
    """Set a password, read from standard input or asked for."""
    from services.cli.administer import set_password

    if sys.stdin.isatty():
        password = typer.prompt("New password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    set_password(address, password)


@alias.command("create")
def alias_create(address: str, targets: list[str]) -> None:
    """Let an address stand for one or more others."""
    from services.cli.administer import new_alias

    new_alias(address, targets)


@key.command("create")
def key_create(name: str) -> None:
    """Make an API key and show it, once."""
    from services.cli.administer import new_key

    print(new_key(name))


@queue.command("list")
def queue_list(json: Json = False) -> None:
    """How many jobs wait where, and since when."""
    from services.cli.administer import list_queues

    list_queues(json)


@app.command()
def trace(
    what: Annotated[str, typer.Argument(help="A mail_id, a Message-ID or an address.")],
    json: Json = False,
) -> None:
    """Where is my mail?  The whole way of a message."""
    from services.cli.trace import show

    raise typer.Exit(show(what, json))


@app.command()
def fsck(
    json: Json = False,
    content: Annotated[
        bool, typer.Option(help="Also read every message and compare its SHA-256.")
    ] = False,
) -> None:
    """Check that rows, mailboxes and blobs agree; exit code 1 when they do not."""
    from services.cli.fsck import check

    raise typer.Exit(check(json, content))


def main() -> None:
    """The console script: any fault becomes one line and exit code 1."""
    try:
        app()
    except Exception as error:
        from services.cli.fault import explain

        sys.exit(explain(error))


if __name__ == "__main__":
    main()
