"""Dovecot over Maildir: an IMAP server that we did not write, with any user and one password."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

from tests.servers.process import Daemon, ServerProcess, accepts, find_program, free_ports

PASSWORD = "pigeon"
_CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{folder}/mail/%n:LAYOUT={layout}
first_valid_uid = 1
{internal}
namespace inbox {{
  inbox = yes
  prefix = {prefix}
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/home/%n allow_all_users=yes
}}
service imap-login {{
  {chroot}
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  {chroot}
}}
service stats {{
  {chroot}
}}
"""
_UNPRIVILEGED = (
    "default_internal_user = {0}\ndefault_login_user = {0}\ndefault_internal_group = {1}"
)


class Dovecot(Daemon):
    """Mailboxes are named as Courier and Cyrus name them: `INBOX.Sent`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        root = os.getuid() == 0
        owner = pwd.getpwnam("mail") if root else pwd.getpwuid(os.getuid())
        own = _UNPRIVILEGED.format(owner.pw_name, grp.getgrgid(owner.pw_gid).gr_name)
        for name in ("mail", "home"):
            (folder / name).mkdir()
            if root:
                os.chown(folder / name, owner.pw_uid, owner.pw_gid)
        text = _CONFIG.format(
            folder=folder,
            port=self.port,
            password=PASSWORD,
            user=owner.pw_uid,
            group=owner.pw_gid,
            layout="maildir++",
            prefix="INBOX.",
            internal="" if root else own,
            chroot="" if root else "chroot =",
        )
        (folder / "dovecot.conf").write_text(text)
        program = [find_program("dovecot"), "-F", "-c", str(folder / "dovecot.conf")]
        self.process = ServerProcess(program, folder, log="dovecot.out")

    def start(self) -> None:
        """Wait until it accepts connections."""
        self.process.launch()
        self.process.wait_until(lambda: accepts(self.port), 30)
