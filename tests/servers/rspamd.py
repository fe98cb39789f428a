"""rspamd with its own rules, its Bayes statistics in SQLite, and no name server to ask."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from tests.servers.process import Daemon, ServerProcess, find_program, free_ports

PASSWORD = "pigeon"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
JUNK = b"HOLUB-TEST-JUNK-MARKER"

# One worker does everything, because two would wait for each other's SQLite lock.
_CONFIG = """\
options {{
  filters = "regexp";
  cache_file = "{folder}/symbols.cache";
  tempdir = "{folder}";
  hs_cache_dir = "{folder}/";
  url_tld = "{folder}/tld";
  control_socket = "{folder}/control.sock mode=0600";
  disable_hyperscan = true;
  dns {{ nameserver = "127.0.0.1:1"; timeout = 0.1s; retransmits = 1; }}
  local_addrs = [];
  classify_headers = ["Subject"];
  explicit_modules = ["settings"];
}}
logging {{ type = "console"; level = "info"; }}
worker "controller" {{
  bind_socket = "127.0.0.1:{port}"; count = 1; password = "{password}"; secure_ip = [];
}}
lua = "{folder}/rules.lua"
actions {{ reject = 15; add_header = 6; }}
group "policies" {{ symbols {{
  "R_SPF_FAIL" {{ weight = 1.0; }} "DMARC_POLICY_REJECT" {{ weight = 2.0; }}
}} }}
classifier "bayes" {{
  tokenizer {{ name = "osb"; }}
  backend = "sqlite3";
  min_tokens = 1;
  min_learns = 1;
  cache {{ backend = "sqlite3"; path = "{folder}/learned.sqlite"; }}
  statfile {{ symbol = "BAYES_HAM"; spam = false; path = "{folder}/ham.sqlite"; }}
  statfile {{ symbol = "BAYES_SPAM"; spam = true; path = "{folder}/spam.sqlite"; }}
}}
settings {{ }}
modules {{ path = "{plugins}/settings.lua"; }}
"""
_RULES = """\
dofile("/usr/share/rspamd/rules/rspamd.lua")
config["regexp"]["TEST_JUNK"] = {{
  re = "/{junk}/{{sa_raw_body}}", score = 8.0, description = "our test marker",
}}
for _, name in ipairs({{"R_SPF_FAIL", "R_SPF_ALLOW", "DMARC_POLICY_REJECT"}}) do
  rspamd_config:register_symbol({{ name = name, type = "virtual,nostat", score = 0.0 }})
end
-- There when all that it should be told of the session has come.
rspamd_config:register_symbol({{ name = "TEST_SESSION", score = 0.0, callback = function(task)
  local from, rcpt = task:get_from("smtp"), task:get_recipients("smtp")
  return tostring(task:get_from_ip()) == "192.0.2.66" and task:get_helo() == "mx.other.test"
    and task:get_hostname() == "host.other.test" and from and from[1].addr == "a@other.test"
    and rcpt and #rcpt == 2 and rcpt[2].addr == "eve@example.test"
    and task:get_queue_id() ~= nil and task:get_user() == "somebody"
end }})
"""


class Rspamd(Daemon):
    """One scanner that also learns, on loopback."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (self.port,) = free_ports(1)
        argv = [find_program("rspamd"), "--insecure", "-f", "-c", str(folder / "rspamd.conf")]
        self.process = ServerProcess(argv, folder, log="rspamd.log")

    def launch(self) -> None:
        """Start without waiting."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # The whole public suffix list takes it seconds to read.
        (self._folder / "tld").write_text("com\nnet\norg\ntest\nexample\n")
        (self._folder / "rules.lua").write_text(_RULES.format(junk=JUNK.decode()))
        (self._folder / "rspamd.conf").write_text(
            _CONFIG.format(
                folder=self._folder,
                port=self.port,
                password=PASSWORD,
                plugins="/usr/share/rspamd/plugins",
            )
        )
        self.process.launch()

    def start(self) -> None:
        """Start, and return when it answers."""
        self.launch()
        self.process.wait_until(self._answers, 90)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=1) as answer:
                return bool(answer.read().strip() == b"pong")
        except OSError:
            return False

    def learned(self) -> int:
        """How many messages it has learned since it started."""
        request = urllib.request.Request(f"{self.url}/stat", headers={"Password": PASSWORD})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(json.load(answer)["learned"])

    @property
    def url(self) -> str:
        """HOLUB_FILTER_RSPAMD."""
        return f"http://127.0.0.1:{self.port}"
