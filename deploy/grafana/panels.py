"""The dashboards: a title, and panels of (title, unit, expressions with their legends).

`make render` writes them to `dashboards/*.json`; every metric they name is checked to exist.
"""

from __future__ import annotations

import json
from typing import Any

Panel = tuple[str, str, dict[str, str]]
_WIDTH, _HEIGHT = 12, 8
_READY = "sum by (queue) (rabbitmq_detailed_queue_messages_ready)"


def _p99(metric: str, by: str = "") -> str:
    return f"histogram_quantile(0.99, sum by (le{by}) (rate({metric}_bucket[$__rate_interval])))"


def _rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}[$__rate_interval]))"


DASHBOARDS: dict[str, tuple[Panel, ...]] = {
    "overview": (
        ("Unaccounted (must be 0)", "short", {"recipients": "max(holub_unaccounted)"}),
        ("Accepted", "ops", {"{{listener}}": _rate("holub_ingress_accepted_total", "listener")}),
        ("Refused", "ops", {"{{stage}}": _rate("holub_ingress_refused_total", "stage")}),
        ("Final dot to reply, p99", "s", {"p99": _p99("holub_ingress_commit_seconds")}),
        ("Jobs", "ops", {"{{queue}} {{result}}": _rate("holub_queue_jobs_total", "queue, result")}),
        ("Relay attempts", "ops", {"{{result}}": _rate("holub_relay_attempts_total", "result")}),
    ),
    "ingress": (
        ("Sessions", "short", {"{{instance}}": "sum by (instance) (holub_ingress_sessions)"}),
        ("Refusals", "ops", {"{{status}}": _rate("holub_ingress_refused_total", "status")}),
        (
            "Strangers, by rule",
            "ops",
            {"{{rule}} {{result}}": _rate("holub_ingress_screened_total", "rule, result")},
        ),
        ("Content", "Bps", {"{{listener}}": _rate("holub_ingress_octets_total", "listener")}),
        ("Waiting for a verdict", "short", {"sessions": "sum(holub_ingress_waiting_verdicts)"}),
        ("Accepted without a job", "short", {"messages": "sum(holub_ingress_unpublished)"}),
        ("Queue not asked", "short", {"{{instance}}": "holub_ingress_breaker_open"}),
    ),
    "queues": (
        ("Jobs settled", "ops", {"{{queue}}": _rate("holub_queue_jobs_total", "queue")}),
        ("Time of a batch, p99", "s", {"{{queue}}": _p99("holub_queue_batch_seconds", ", queue")}),
        (
            "Ready",
            "short",
            {"{{queue}}": "sum by (queue) (rabbitmq_detailed_queue_messages_ready)"},
        ),
        (
            "In hand",
            "short",
            {"{{queue}}": "sum by (queue) (rabbitmq_detailed_queue_messages_unacked)"},
        ),
        ("Parked", "ops", {"{{queue}}": _rate("holub_queue_parked_total", "queue")}),
        ("From the outbox", "ops", {"{{queue}}": _rate("holub_storage_outbox_total", "queue")}),
    ),
    "storage": (
        ("Records put", "ops", {"{{result}}": _rate("holub_blobstore_puts_total", "result")}),
        ("From put to durable, p99", "s", {"p99": _p99("holub_blobstore_put_seconds")}),
        ("fsyncs", "ops", {"fsyncs": "sum(rate(holub_blobstore_fsyncs_total[$__rate_interval]))"}),
        ("Swept", "ops", {"messages": "sum(rate(holub_storage_swept_total[$__rate_interval]))"}),
        ("Scans by clamd", "ops", {"{{result}}": _rate("holub_filter_clamd_total", "result")}),
        ("Damaged records", "short", {"records": "sum(holub_blobstore_damaged_total)"}),
    ),
    "access": (
        ("IMAP sessions", "short", {"{{instance}}": "sum by (instance) (holub_imap_sessions)"}),
        ("IMAP commands", "ops", {"{{command}}": _rate("holub_imap_commands_total", "command")}),
        ("POP3 sessions", "short", {"{{instance}}": "sum by (instance) (holub_pop3_sessions)"}),
        (
            "ManageSieve sessions",
            "short",
            {"{{instance}}": "sum by (instance) (holub_managesieve_sessions)"},
        ),
        (
            "IMAP octets",
            "Bps",
            {
                "in": "sum(rate(holub_imap_received_bytes_total[$__rate_interval]))",
                "out": "sum(rate(holub_imap_sent_bytes_total[$__rate_interval]))",
            },
        ),
    ),
    "relay": (
        ("Recipients tried", "ops", {"{{result}}": _rate("holub_relay_attempts_total", "result")}),
        ("Time of an attempt, p99", "s", {"p99": _p99("holub_relay_attempt_seconds")}),
        ("In hand", "short", {"{{instance}}": "sum by (instance) (holub_relay_in_hand)"}),
        ("Taken over", "ops", {"claims": "sum(rate(holub_relay_stale_total[$__rate_interval]))"}),
    ),
}


def expressions() -> list[str]:
    """Every expression of every panel."""
    panels = [panel for panels in DASHBOARDS.values() for panel in panels]
    return [expression for _, _, queries in panels for expression in queries.values()]


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    title, unit, queries = panel
    x, y = (number % 2) * _WIDTH, number // 2 * _HEIGHT
    return {
        "id": number + 1,
        "title": title,
        "type": "timeseries",
        "datasource": {"type": "prometheus", "uid": "prometheus"},
        "gridPos": {"x": x, "y": y, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(65 + n), "expr": expression, "legendFormat": legend}
            for n, (legend, expression) in enumerate(queries.items())
        ],
    }


def dashboard(name: str) -> str:
    """One dashboard as Grafana reads it."""
    panels = [_panel(number, panel) for number, panel in enumerate(DASHBOARDS[name])]
    document = {
        "uid": f"holub-{name}",
        "title": f"Holub: {name}",
        "tags": ["holub"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "panels": panels,
    }
    return json.dumps(document, indent=1) + "\n"
