"""Sieve scripts of accounts: rows, of which one may be active."""

from libs.common.scripts.store import (
    MAX_NAME,
    MAX_OCTETS,
    MAX_SCRIPTS,
    ScriptError,
    StoredScript,
    activate,
    check_room,
    delete_script,
    get_script,
    list_scripts,
    put_script,
    rename_script,
)

__all__ = [
    "MAX_NAME",
    "MAX_OCTETS",
    "MAX_SCRIPTS",
    "ScriptError",
    "StoredScript",
    "activate",
    "check_room",
    "delete_script",
    "get_script",
    "list_scripts",
    "put_script",
    "rename_script",
]
