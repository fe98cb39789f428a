"""The commands.  What they need is imported when they run, so that `--help` is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from services.cli import access, keep, operate, recoverable, rescan, resources, signing
from services.cli.resources import Json
from services.cli.sieve import sieve

FormOption = Annotated[
    str, typer.Option("--format", help="maildir, mboxrd or mboxo; else what fits.")
]
MailboxOption = Annotated[
    list[str] | None, typer.Option(help="Only this mailbox; of one mbox file: where it goes.")
]
RemotePassword = Annotated[
    bool,
    typer.Option(
        "--password-stdin", help="Of imaps://; else HOLUB_REMOTE_PASSWORD says it, or it is asked."
    ),
]
app = typer.Typer(
    name="holub",
    help="Holub, the mail platform that always knows where your message is.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # rich takes longer to load than anything else that --help needs.
    rich_markup_mode=None,
)
for _name, _commands in (
    ("tenant", resources.tenant),
    ("domain", resources.domain),
    ("dkim", signing.dkim),
    ("account", resources.account),
    ("alias", resources.alias),
    ("key", resources.key),
    ("app-password", access.app_password),
    ("send-as", access.send_as),
    ("block", access.block),
    ("queue", operate.queue),
    ("suppression", operate.suppression),
    ("parked", operate.parked),
    ("quarantine", operate.quarantine),
    ("rescan", rescan.rescan),
    ("audit", operate.audit),
    ("recoverable", recoverable.recoverable),
    ("sieve", sieve),
):
    app.add_typer(_commands, name=_name)
for _command in (keep.backup, keep.restore, keep.reconcile):
    app.command()(_command)


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
def migrate(
    wait: Annotated[
        bool, typer.Option(help="Change nothing: wait until another has brought it there.")
    ] = False,
    seconds: Annotated[float, typer.Option(min=1, help="How long --wait waits.")] = 600,
) -> None:
    """Bring the database to the schema of this version."""
    from services.cli.administer import await_schema, migrate_database

    if wait:
        await_schema(seconds)
        return
    print(f"the database is at revision {migrate_database()}")


@app.command()
def setup(
    name: Annotated[str, typer.Argument(metavar="DOMAIN", help="The first domain.")],
    host: Annotated[list[str] | None, typer.Option(help="More names of the certificate.")] = None,
    tls: Annotated[
        Path | None, typer.Option(help="Make a certificate in this folder where there is none.")
    ] = None,
    password: Annotated[
        str, typer.Option(envvar="HOLUB_SETUP_PASSWORD", help="Of postmaster; else one is made.")
    ] = "",
    canary: Annotated[
        Path | None, typer.Option(help="Also an account for the canary, its password in this file.")
    ] = None,
) -> None:
    """Make what a new installation needs: schema, certificate, domain, postmaster."""
    from services.cli.setup import set_up

    set_up(name, host or [], tls, password, canary)


@app.command()
def trace(
    what: Annotated[
        str, typer.Argument(help="A mail_id, a Message-ID, an address, or a subject.")
    ] = "",
    json: Json = False,
    follow: Annotated[bool, typer.Option(help="Show steps as they happen, until Ctrl-C.")] = False,
    state: Annotated[str, typer.Option(help="Only such: deferred, bounced, ...")] = "",
) -> None:
    """Where is my mail?  The whole way of a message."""
    from services.cli import trace as telling

    if follow:
        telling.follow(what, json)
    else:
        raise typer.Exit(telling.show(what, state, json))


@app.command()
def quickstart(
    domain: str,
    account: Annotated[str, typer.Option(help="Local part of the first account.")] = "postmaster",
    form: Annotated[str, typer.Option(help="Of the records: table, zone, endpoint.")] = "table",
) -> None:
    """From nothing to a domain: its first account, what to publish, what to do next."""
    from services.cli.onboard import quickstart as start

    start(domain, account, form)


@app.command()
def dns(
    domain: str,
    form: Annotated[str, typer.Option(help="table, zone, or endpoint (external-dns).")] = "table",
    json: Json = False,
) -> None:
    """The DNS records that a domain must publish."""
    from services.cli.onboard import print_records

    print_records(domain, form, json)


@app.command()
def doctor(domain: str, json: Json = False) -> None:
    """Does the world see the domain as it should?  Exit code 1 when something is wrong."""
    from services.cli.onboard import doctor as examine

    raise typer.Exit(examine(domain, json))


@app.command()
def verify(
    operation: Annotated[str, typer.Argument(help="spf, dkim, arc or dmarc.")] = "spf",
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="One JSON object a line, in and out.")
    ] = True,
) -> None:
    """Check SPF, DKIM, ARC or DMARC: one JSON object a line on stdin, one answer a line."""
    from services.cli.verify import OPERATIONS
    from services.cli.verify import verify as answer

    if operation not in OPERATIONS:
        raise typer.BadParameter(f"write one of {', '.join(OPERATIONS)}")
    answer(operation, sys.stdin)


@app.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(
            help="CSV or JSON lines; of mail: a Maildir, mbox files, imaps://USER@HOST."
        ),
    ],
    address: Annotated[str, typer.Argument(help="The account that the mail is for.")] = "",
    kind: Annotated[str, typer.Option(help="Of lines: accounts or aliases.")] = "accounts",
    dry_run: Annotated[bool, typer.Option(help="Of lines: check all, change nothing.")] = False,
    skip_existing: Annotated[
        bool, typer.Option(help="Of lines: leave what is there as it is.")
    ] = False,
    form: FormOption = "",
    mailbox: MailboxOption = None,
    password_stdin: RemotePassword = False,
    json: Json = False,
) -> None:
    """Bring mail into an account, or create many accounts or aliases from a file.

    Mail: what was brought in before is passed over, so a run that was broken off is begun again.
    Lines: all of them are checked before the first.
    """
    if address:
        from services.cli.transfer import Wanted, bring_mail

        wanted = Wanted(form, tuple(mailbox or ()), password_stdin, json)
        raise typer.Exit(bring_mail(source, address, wanted))
    from services.cli.people import import_file

    import_file(kind, source, dry_run, skip_existing, json)


@app.command()
def export(
    address: Annotated[str, typer.Argument(help="The account.")],
    target: Annotated[
        str, typer.Argument(help="A folder for a Maildir or mbox files, or imaps://USER@HOST.")
    ],
    form: FormOption = "",
    mailbox: MailboxOption = None,
    password_stdin: RemotePassword = False,
    json: Json = False,
) -> None:
    """Write the mail of an account elsewhere; a second run adds what has come since."""
    from services.cli.transfer import Wanted, send_mail

    wanted = Wanted(form, tuple(mailbox or ()), password_stdin, json)
    raise typer.Exit(send_mail(address, target, wanted))


@app.command()
def canary(
    once: Annotated[
        bool, typer.Option("--once", help="One round; exit code 1 if it fails.")
    ] = False,
) -> None:
    """Send a message to itself and read it, every minute; its metrics tell whether mail goes."""
    import asyncio

    from services.canary import service

    if once:
        raise typer.Exit(service.once())
    asyncio.run(service.serve())


@app.command()
def settings(json: Json = False) -> None:
    """The settings in force where the API runs, secrets hidden."""
    from services.cli import client, table

    rows = client.call("GET", client.path("settings"))
    table.show(rows, json, "Settings", ("name", "value", "default", "help"))


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


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option(help="Only say what would be done.")] = False,
    json: Json = False,
) -> None:
    """Collect garbage now: content that no mailbox, undelete window or job needs any more."""
    from services.cli.gc import collect

    collect(dry_run, json)


def main() -> None:
    """The console script: any fault becomes one line and exit code 1."""
    try:
        app()
    except Exception as error:
        from services.cli.fault import explain

        sys.exit(explain(error))


if __name__ == "__main__":
    main()
