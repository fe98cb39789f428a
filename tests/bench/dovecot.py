"""The configuration of Dovecot over a Maildir, as both benches use it."""

from __future__ import annotations

from pathlib import Path

_CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = {protocols}
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{folder}/mail/%n
first_valid_uid = 1
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid=mail gid=mail home={folder}/mail/%n allow_all_users=yes
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
"""


def dovecot_config(folder: Path, port: int, password: str, protocols: str = "imap") -> str:
    """IMAP without TLS on `port`; every name is a user with this password."""
    return _CONFIG.format(folder=folder, port=port, password=password, protocols=protocols)
