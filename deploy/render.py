"""Writes what is generated: `python -m deploy.render` (a test compares it with what is committed).

`k8s/install.yaml` is the dev overlay as kubectl would apply it; the operator's PrometheusRule and
the metric reference come from the one list of alerts and from the code.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import yaml

from deploy.grafana.panels import DASHBOARDS, dashboard

ROOT = Path(__file__).resolve().parents[1]
K8S = ROOT / "deploy/k8s"
_METRIC = re.compile(
    r"\b(Counter|Gauge|Histogram)\(\s*\"(holub_\w+)\",\s*\"([^\"]*)\"(?:,\s*\[([^\]]*)\])?"
)


def kustomize(overlay: str) -> str:
    """The manifests of an overlay, e.g. `dev`."""
    kubectl = str(Path(sys.executable).parent / "kubectl")
    argv = [kubectl, "kustomize", str(K8S / "overlays" / overlay)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def rules() -> str:
    """The alerts as an object of the Prometheus operator."""
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
    kind = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule"}
    head = "# Made from deploy/prometheus/alerts.yml by: make render\n"
    return head + yaml.safe_dump(
        {**kind, "metadata": {"name": "holub"}, "spec": alerts}, sort_keys=False, width=100
    )


def metrics() -> list[tuple[str, str, str, str]]:
    """(name, kind, labels, help) of every metric in the code, by name."""
    found = set()
    for folder in ("libs", "services"):
        for path in (ROOT / folder).rglob("*.py"):
            for kind, name, text, labels in _METRIC.findall(path.read_text()):
                names = ", ".join(re.findall(r"\w+", labels))
                found.add((name, kind.lower(), names, text))
    return sorted(found)


def metric_page() -> str:
    """docs/metrics.md."""
    rows = [f"| `{n}` | {k} | {labels} | {text} |" for n, k, labels, text in metrics()]
    head = (
        "# Metrics\n\nEvery role serves these at `/metrics`. Made from the code by `make render`.\n"
    )
    return "\n".join([head, "| name | kind | labels | what |", "|---|---|---|---|", *rows, ""])


def settings_page() -> str:
    """docs/settings.md: every environment variable, from the settings classes."""
    from libs.common.accounts.settings import AuthenticationSettings
    from libs.common.runtime.settings import HolubSettings, PlatformSettings
    from services.__main__ import ROLES

    lines = ["# Settings", "", "Environment variables. Made from the code by `make render`.", ""]
    for role in ("", *sorted([*ROLES, "canary"])):
        module = import_module(f"services.{role}.settings") if role else None
        kinds = [PlatformSettings] if module is None else list(vars(module).values())
        for kind in kinds:
            own = isinstance(kind, type) and issubclass(kind, HolubSettings)
            if own and kind is not HolubSettings and (not role or kind is not PlatformSettings):
                lines += _table(role or "every role", kind)
        if not role:
            lines += _table("logins, in every role that takes them", AuthenticationSettings)
    return "\n".join(lines)


def _table(title: str, kind: type) -> list[str]:
    prefix = kind.model_config["env_prefix"]  # type: ignore[attr-defined]
    lines = [f"## {title}", "", "| variable | default | what |", "|---|---|---|"]
    for name, field in kind.model_fields.items():  # type: ignore[attr-defined]
        default = "" if field.default_factory else str(field.default)
        text = " ".join((field.description or "").split()).replace("|", "\\|")
        lines.append(f"| `{prefix}{name.upper()}` | `{default}` | {text} |")
    return [*lines, ""]


def generated() -> dict[Path, str]:
    """Every generated file and what it should hold; the rules come first, for others use them."""
    path = K8S / "components/prometheus-operator/rules.yaml"
    if not path.exists():
        path.write_text(rules())
    head = "# Made from overlays/dev by: make render\n"
    boards = ROOT / "deploy/grafana/dashboards"
    return {
        path: rules(),
        **{boards / f"{name}.json": dashboard(name) for name in DASHBOARDS},
        K8S / "install.yaml": head + kustomize("dev"),
        ROOT / "docs/metrics.md": metric_page(),
        ROOT / "docs/settings.md": settings_page(),
    }


if __name__ == "__main__":
    for target, content in generated().items():
        target.write_text(content)
        print(target.relative_to(ROOT))
