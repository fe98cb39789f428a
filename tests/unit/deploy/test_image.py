"""What the image is built from agrees with the code and its lock."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def _pins(path: str) -> dict[str, str]:
    pinned = re.findall(r"^([a-z0-9_.-]+)==([^ ;\\]+)", (ROOT / path).read_text(), re.MULTILINE)
    return dict(pinned)


def test_the_image_installs_what_the_lock_pins_and_everything_the_platform_needs() -> None:
    """When this fails: make lock."""
    everything, image = _pins("requirements.lock"), _pins("deploy/requirements.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[\[><=~ ]", line)[0] for line in project["dependencies"]}

    assert {name: everything.get(name) for name in image} == image
    assert needed - image.keys() == set()
    assert "pytest" not in image


def test_dockerfiles_have_no_heredocs_and_take_their_base_as_an_argument() -> None:
    """The classic builder of older engines knows no heredocs."""
    files = [p for p in ROOT.glob("**/*ockerfile") if ".venv" not in p.parts]

    assert len(files) >= 3
    for path in files:
        text = path.read_text()
        assert "<<" not in text, path
        assert "ARG BASE_IMAGE=" in text, path
        assert not re.search(r"^FROM (?!\$\{BASE_IMAGE\}|apt )", text, re.MULTILINE), path
