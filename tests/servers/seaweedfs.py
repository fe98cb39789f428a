"""SeaweedFS as the S3 server: a real one, shipped in a wheel, with conditional creates."""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path

from tests.servers import sigv4
from tests.servers.process import (
    ServerProcess,
    ServerUnavailable,
    accepts,
    find_program,
    free_ports,
)

ACCESS, SECRET = "holub-tests", "holub-tests-secret"
_ACTIONS = ["Admin", "Read", "Write", "List", "Tagging"]


class SeaweedFS:
    """Master, volume, filer and S3 gateway in one process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        master, master_grpc, volume, volume_grpc, filer, filer_grpc, self.port, s3_grpc = (
            free_ports(8)
        )
        ports = {
            "master.port": master,
            "master.port.grpc": master_grpc,
            "volume.port": volume,
            "volume.port.grpc": volume_grpc,
            "filer.port": filer,
            "filer.port.grpc": filer_grpc,
            "s3.port": self.port,
            "s3.port.grpc": s3_grpc,
        }
        weed = find_program("weed", str(Path(sys.executable).parent))
        argv = [weed, "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        argv += ["-filer", "-s3", f"-s3.config={folder / 's3.json'}"]
        argv += [
            "-volume.max=5000",
            "-master.volumeSizeLimitMB=128",
            # Off: their ports are fixed, so two servers on one machine would collide.
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        argv += [f"-{name}={port}" for name, port in ports.items()]
        # A bucket is a collection, which otherwise begins with seven volumes.
        few = {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
        self.process = ServerProcess(argv, folder, log="weed.log", env=few)
        self._numbers = itertools.count(1)

    def launch(self) -> None:
        """Start without waiting."""
        (self._folder / "data").mkdir(parents=True, exist_ok=True)
        credentials = [{"accessKey": ACCESS, "secretKey": SECRET}]
        identity = {"name": "tests", "credentials": credentials, "actions": _ACTIONS}
        (self._folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        self.process.launch()

    def wait(self, seconds: float = 60) -> None:
        """Wait until a bucket can be made: the gateway listens long before it can."""
        self.process.wait_until(lambda: accepts(self.port) and self._makes("ready"), seconds)

    def start(self) -> None:
        """Start, and return when it takes requests."""
        self.launch()
        self.wait()

    def stop(self) -> None:
        """SIGKILL: asked politely it drains for half a minute."""
        self.process.kill()

    def _makes(self, bucket: str) -> bool:
        host = f"127.0.0.1:{self.port}"
        try:
            status, _ = sigv4.request("PUT", host, f"/{bucket}", access=ACCESS, secret=SECRET)
        except OSError:
            return False
        # 409: it is ours already.
        return status in (200, 409)

    def new_bucket(self) -> str:
        """The name of a fresh bucket."""
        name = f"bucket{next(self._numbers)}"
        for _ in range(20):
            if self._makes(name):
                return name
            time.sleep(0.25)
        raise ServerUnavailable(f"SeaweedFS makes no bucket:\n{self.process.tail()}")

    def url(self, bucket: str) -> str:
        """HOLUB_BLOB_URL of a bucket."""
        return f"s3://{ACCESS}:{SECRET}@127.0.0.1:{self.port}/{bucket}?region=us-east-1&http=1"
