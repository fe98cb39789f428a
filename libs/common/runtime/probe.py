"""`python3 -m libs.common.runtime.probe [PATH]`: asks this container's health listener, for
engines that can only run commands.  Exit code 0 when the answer is 200.

It imports nothing of the platform, so that a probe every few seconds costs little.
"""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException

_SECONDS = 3.0


def probe(path: str, port: int) -> tuple[bool, str]:
    """(whether the answer is 200, the answer or why there is none)."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status == 200, answer.read(4096).decode(errors="replace").strip()
    except (OSError, HTTPException) as error:
        return False, f"no answer on port {port}: {error}"
    finally:
        connection.close()


if __name__ == "__main__":
    good, text = probe(
        sys.argv[1] if len(sys.argv) > 1 else "/readyz",
        int(os.environ.get("HOLUB_HEALTH_PORT", "9090")),
    )
    print(text)
    sys.exit(not good)
