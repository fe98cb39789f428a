"""What schemas cannot say of the manifests: selectors, ports, references, settings, topology."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from deploy.grafana.panels import expressions
from deploy.render import generated, kustomize, metrics
from libs.common.queue.protocol import QUEUES
from libs.common.runtime.settings import HolubSettings, PlatformSettings
from services.__main__ import ROLES

ROOT = Path(__file__).resolve().parents[3]
OVERLAYS = ("dev", "prod", "operators")
SCHEMAS = ("1.30", "1.37")
_WORKLOADS = ("Deployment", "StatefulSet")
_CLUSTER = ("Namespace", "CiliumEgressGatewayPolicy")
# Made by others in the cluster: cert-manager, the operators of the secrets and of the stores.
_BROUGHT = {
    ("Secret", name)
    for name in (
        *("holub-tls", "holub-backends", "holub-canary"),
        *("postgres-app", "rabbitmq-default-user"),
    )
}


@cache
def objects(overlay: str) -> tuple[dict[str, Any], ...]:
    return tuple(yaml.load_all(kustomize(overlay), yaml.CSafeLoader))


def of_kind(overlay: str, *kinds: str) -> list[dict[str, Any]]:
    return [item for item in objects(overlay) if item["kind"] in kinds]


def template(item: dict[str, Any]) -> dict[str, Any]:
    job = item["spec"].get("jobTemplate", item)
    return dict(job["spec"]["template"])


def pod(item: dict[str, Any]) -> dict[str, Any]:
    return dict(template(item)["spec"])


def labels(item: dict[str, Any]) -> dict[str, str]:
    return dict(template(item)["metadata"]["labels"])


def containers(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod(item)["containers"], *pod(item).get("initContainers", [])]


def ports_of(item: dict[str, Any]) -> dict[str, int]:
    return {p["name"]: p["containerPort"] for c in containers(item) for p in c.get("ports", [])}


def matches(selector: dict[str, Any], found: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= found.items()
    every = selector.get("matchExpressions", [])
    return wanted and all(found.get(e["key"]) in e["values"] for e in every)


def settings_of(role: str) -> dict[str, set[str]]:
    names = {f"HOLUB_{name.upper()}" for name in PlatformSettings.model_fields}
    for kind in vars(import_module(f"services.{role}.settings")).values():
        own = isinstance(kind, type) and issubclass(kind, HolubSettings)
        if own and kind is not HolubSettings:
            prefix = kind.model_config["env_prefix"]
            names |= {f"{prefix}{name.upper()}" for name in kind.model_fields}
    return {"known": names}


@pytest.mark.parametrize("version", SCHEMAS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_overlay_keeps_to_the_schemas(overlay: str, version: str, tmp_path: Path) -> None:
    custom = ("keda", "monitoring.coreos", "cert-manager", "external-secrets")
    custom += ("postgresql.cnpg", "rabbitmq.com", "cilium")
    plain = [o for o in objects(overlay) if not any(c in o["apiVersion"] for c in custom)]
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump_all(plain))
    program = Path(sys.executable).parent / "kubernetes-validate"

    argv = [str(program), "--strict", "-k", version, str(path)]
    done = subprocess.run(argv, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(plain) > 30


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_meet_their_pods_and_ports_exist(overlay: str) -> None:
    workloads = of_kind(overlay, *_WORKLOADS)
    for item in workloads:
        assert matches(item["spec"]["selector"], labels(item)), item["metadata"]["name"]
        for container in pod(item)["containers"]:
            own = {p["name"] for p in container.get("ports", [])}
            for name in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(name, {})
                target = probe.get("httpGet", probe.get("tcpSocket", {})).get("port")
                assert target is None or target in own, (item["metadata"]["name"], name)
    for service in of_kind(overlay, "Service"):
        behind = [w for w in workloads if service["spec"]["selector"].items() <= labels(w).items()]
        assert len(behind) == 1, service["metadata"]["name"]
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports_of(behind[0]), service["metadata"]["name"]
    for monitor in of_kind(overlay, "PodMonitor"):
        seen = [
            w
            for w in workloads
            if monitor["spec"]["selector"]["matchLabels"].items() <= labels(w).items()
        ]
        assert {w["metadata"]["name"] for w in seen} >= set(ROLES)
    operated = {o["metadata"]["name"] for o in of_kind(overlay, "RabbitmqCluster")}
    for budget in of_kind(overlay, "PodDisruptionBudget"):
        selector = budget["spec"]["selector"]
        own = selector["matchLabels"].get("app.kubernetes.io/name") in operated
        assert own or any(matches(selector, labels(w)) for w in workloads)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_object_is_in_the_namespace_and_small_enough_to_apply(overlay: str) -> None:
    for item in objects(overlay):
        assert len(yaml.safe_dump(item)) < 200_000
        if item["kind"] not in _CLUSTER:
            assert item["metadata"].get("namespace") == "holub", item["metadata"]["name"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_workload_can_be_moved_restarted_and_confined(overlay: str) -> None:
    budgets = {b["metadata"]["name"] for b in of_kind(overlay, "PodDisruptionBudget")}
    for item in of_kind(overlay, *_WORKLOADS):
        name = item["metadata"]["name"]
        assert name in budgets, name
        assert pod(item)["automountServiceAccountToken"] is False, name
        assert pod(item)["securityContext"]["runAsNonRoot"] is True, name
        main = pod(item)["containers"][0]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert probe in main, (name, probe)
        for container in containers(item):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
        if name in ROLES:
            assert main["securityContext"]["readOnlyRootFilesystem"] is True
            assert len(pod(item)["topologySpreadConstraints"]) == 2
            assert _grace_is_enough(item), name


def _grace_is_enough(item: dict[str, Any]) -> bool:
    main = pod(item)["containers"][0]
    drain = next(e["value"] for e in main["env"] if e["name"] == "HOLUB_DRAIN_SECONDS")
    sleep = main.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    return bool(pod(item)["terminationGracePeriodSeconds"] > float(drain) + sleep)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_references_resolve_and_every_variable_is_a_setting(overlay: str) -> None:
    have = {
        (o["kind"], o["metadata"]["name"]): {**o.get("data", {}), **o.get("stringData", {})}
        for o in of_kind(overlay, "ConfigMap", "Secret")
    }
    for item in of_kind(overlay, *_WORKLOADS, "Job", "CronJob"):
        name = item["metadata"]["name"]
        for container in containers(item):
            for entry in container.get("env", []):
                for kind, ref in entry.get("valueFrom", {}).items():
                    key = ("Secret" if kind.startswith("secret") else "ConfigMap", ref["name"])
                    assert key in have or key in _BROUGHT, (name, key)
                    there = key not in have or ref["key"] in have[key]
                    assert there or ref.get("optional"), (name, entry["name"])
                if name in (*ROLES, "canary"):
                    assert entry["name"] in settings_of(name)["known"], (name, entry["name"])


def test_every_container_has_the_image_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    made = [o for overlay in OVERLAYS for o in of_kind(overlay, *_WORKLOADS, "Job", "CronJob")]
    made += [o for o in yaml.safe_load_all(kustomize("../edge-hostport")) if "spec" in o]
    images = {container["image"] for item in made for container in containers(item)}

    assert {image for image in images if "holub" in image} == {f"holub:{version}"}
    assert all(":" in image and not image.endswith(":latest") for image in images)


def test_with_operators_every_role_takes_the_stores_from_them() -> None:
    found = of_kind("operators", *_WORKLOADS, "Job", "CronJob")
    kept = {
        entry["valueFrom"]["secretKeyRef"]["key"]
        for item in found
        for container in containers(item)
        for entry in container.get("env", [])
        if entry.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == "holub-backends"
    }
    assert {"database-url", "queue-url"} & kept == set()
    assert "blob-url" in kept


def test_ingress_behind_a_proxy_is_ingress_that_demands_the_header() -> None:
    found = {w["metadata"]["name"]: pod(w) for w in of_kind("operators", *_WORKLOADS)}
    plain, edge = found["ingress"], found["ingress-edge"]
    own = {e["name"]: e for e in edge["containers"][0]["env"] if "PROXY" in e["name"]}
    edge["containers"][0]["env"] = [
        e for e in edge["containers"][0]["env"] if e not in own.values()
    ]
    text = yaml.safe_dump(edge).replace("ingress-edge", "ingress")

    assert yaml.safe_load(text) == plain
    assert own.keys() == {"HOLUB_INGRESS_PROXY_LISTENERS", "HOLUB_INGRESS_PROXY_NETWORKS"}
    assert own.keys() <= settings_of("ingress")["known"]
    services = {s["metadata"]["name"]: s["spec"] for s in of_kind("operators", "Service")}
    assert services["ingress"]["type"] == "ClusterIP"
    assert services["ingress-edge"]["type"] == "LoadBalancer"


def test_host_ports_are_in_a_namespace_of_their_own_and_lead_to_the_ports_of_the_roles() -> None:
    made = list(yaml.safe_load_all(kustomize("../edge-hostport")))
    (edge,) = [item for item in made if item["kind"] == "DaemonSet"]
    main = pod(edge)["containers"][0]
    roles = main["args"][1:]
    known = set().union(*(settings_of(role)["known"] for role in roles))
    base = {w["metadata"]["name"]: ports_of(w) for w in of_kind("prod", *_WORKLOADS)}
    services = [p for s in of_kind("prod", "Service") for p in s["spec"]["ports"]]

    assert {item["metadata"].get("namespace") for item in made} == {"holub-edge", None}
    assert {e["name"] for e in main["env"]} <= known
    assert ports_of(edge) == {k: v for role in roles for k, v in base[role].items()}
    outside = {p["name"]: p["hostPort"] for p in main["ports"] if "hostPort" in p}
    assert outside == {p["name"]: p["port"] for p in services if p["name"] in outside}


def test_every_role_is_a_workload_and_a_compose_service_with_the_same_ports() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]
    for overlay in OVERLAYS:
        found = {w["metadata"]["name"]: w for w in of_kind(overlay, *_WORKLOADS)}
        assert set(ROLES) <= found.keys()
        for role in ROLES:
            assert compose[role]["command"] == ["run", role]
            published = {int(p.rsplit(":", 1)[1]) for p in compose[role].get("ports", [])}
            assert published == {n for k, n in ports_of(found[role]).items() if k != "health"}
    images = {c["image"] for o in of_kind("dev", *_WORKLOADS) for c in containers(o)}
    named = {re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", s["image"]) for s in compose.values()}
    assert {i for i in images if not i.startswith("holub:")} <= named
    assert not any(i.endswith(":latest") or ":" not in i for i in images)


def test_compose_sets_only_what_is_a_setting() -> None:
    compose = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]
    for role in (*ROLES, "canary"):
        names = set(compose[role]["environment"])
        assert names <= settings_of(role)["known"], names - settings_of(role)["known"]


def test_scalers_watch_queues_that_exist_and_share_no_deployment_with_an_hpa() -> None:
    scaled = {o["spec"]["scaleTargetRef"]["name"] for o in of_kind("prod", "ScaledObject")}
    hpas = {o["spec"]["scaleTargetRef"]["name"] for o in of_kind("prod", "HorizontalPodAutoscaler")}
    queues = {
        t["metadata"]["queueName"]
        for o in of_kind("prod", "ScaledObject")
        for t in o["spec"]["triggers"]
    }

    assert queues
    assert queues <= set(QUEUES)
    assert not scaled & hpas
    assert "filter" in {o["metadata"]["name"] for o in of_kind("dev", "HorizontalPodAutoscaler")}


def test_the_job_carries_the_version_and_base_holds_no_secret_and_no_host_port() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (job,) = of_kind("prod", "Job")

    assert job["metadata"]["name"] == f"migrate-{version.replace('.', '-')}"
    assert containers(job)[0]["image"] == f"holub:{version}"
    assert not of_kind("prod", "Secret")
    assert "hostPort" not in kustomize("prod") + kustomize("dev")


_ROLES = {
    "ingress", "filter", "delivery", "storage", "imap", "managesieve", "pop3", "relay", "api",
}  # fmt: skip
REACH = {
    "rabbitmq": _ROLES,
    "postgres": _ROLES | {"migrate"},
    "seaweedfs": _ROLES,
    "clamd": {"filter"},
}
"""Who reaches whom inside the namespace; everything that is not here is denied."""


def test_network_policies_allow_exactly_the_edges_of_the_table() -> None:
    policies = of_kind("dev", "NetworkPolicy")
    pods = {
        item["metadata"]["labels"]["app.kubernetes.io/component"]: labels(item)
        for item in of_kind("dev", *_WORKLOADS, "Job")
    }
    strangers = {"ingress", "imap", "managesieve", "pop3", "api"}
    for target, at in pods.items():
        into = {a for a, found in pods.items() if _allowed(policies, "ingress", at, found)}
        out = {a for a, found in pods.items() if _allowed(policies, "egress", found, at)}
        expected = set(pods) if target in strangers else REACH.get(target, set())
        assert into == expected, target
        assert out == REACH.get(target, set()), target
    internet = {
        p["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for p in policies
        if "ipBlock" in str(p)
    }
    assert internet == {"relay", "clamd"}


def _allowed(policies: list[Any], way: str, own: dict[str, str], other: dict[str, str]) -> bool:
    """Whether some policy of `own` lets `other` in, or lets `own` out to it."""
    side = "from" if way == "ingress" else "to"
    for policy in policies:
        if matches(policy["spec"]["podSelector"], own):
            for rule in policy["spec"].get(way, []):
                peers = rule.get(side)
                if peers is None or any(
                    matches(p["podSelector"], other) for p in peers if "podSelector" in p
                ):
                    return True
    return False


def test_what_is_generated_is_committed() -> None:
    """When this fails: make render."""
    for path, content in generated().items():
        assert path.read_text() == content, path.relative_to(ROOT)


def test_alerts_use_metrics_that_exist_and_have_a_test_and_a_runbook() -> None:
    known = {name for name, *_ in metrics()}
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())
    tests = (ROOT / "deploy/prometheus/alerts_test.yml").read_text()
    runbook = (ROOT / "docs/operations.md").read_text().lower()
    for rule in alerts["groups"][0]["rules"]:
        for name in re.findall(r"holub_\w+", rule["expr"]):
            assert name in known or re.sub(r"_(bucket|sum|count)$", "", name) in known, name
        assert rule["alert"] in tests
        assert f"### {rule['alert'].lower()}" in runbook, rule["alert"]


def test_promtool_passes_rules_configuration_and_tests() -> None:
    folder = ROOT / "deploy/prometheus"
    for words in (("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")):
        try:
            done = subprocess.run(["promtool", *words], cwd=folder, capture_output=True, text=True)
        except FileNotFoundError:
            if os.environ.get("HOLUB_REQUIRE_SERVERS"):
                raise
            pytest.skip("promtool is not installed; on Debian: apt-get install prometheus")
        assert done.returncode == 0, done.stdout + done.stderr


def test_panels_parse_and_use_metrics_that_exist() -> None:
    known = {name for name, *_ in metrics()}
    for expression in expressions():
        promql_parser.parse(expression.replace("$__rate_interval", "5m"))
        for name in re.findall(r"holub_\w+", expression):
            assert name in known or re.sub(r"_(bucket|sum|count)$", "", name) in known, name
    assert len(expressions()) > 30
