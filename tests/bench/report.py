"""Medians and ratios: a table on the terminal, and the same in docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.run import Result

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "benchmarks.md"
BEGIN = "<!-- measured: written by `make bench` -->"
END = "<!-- end of measured -->"
_PEER = "postfix+dovecot"
_MIB = 1024 * 1024


def median(results: Sequence[Result], of: Callable[[Result], float]) -> float:
    """The median of one figure over the rounds."""
    return statistics.median(of(result) for result in results)


def _spread(results: Sequence[Result], of: Callable[[Result], float]) -> str:
    values = [of(result) for result in results]
    if len(values) == 1:
        return f"{values[0]:,.0f}"
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


def table(results: Sequence[Result]) -> list[str]:
    """Markdown: one row for each load and subject."""
    lines = [
        "| load | system | messages/s | CPU us/message | accept p50 / p99 ms | memory PSS MiB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for load, subject, some in _groups(results):
        latency = f"{median(some, lambda r: r.p50_ms):.1f} / {median(some, lambda r: r.p99_ms):.1f}"
        memory = median(some, lambda r: r.pss / _MIB)
        lines.append(
            f"| {load} | {subject} | {_spread(some, lambda r: r.rate)}"
            f" | {_spread(some, lambda r: r.cpu_us)} | {latency} | {memory:,.0f} |"
        )
    return lines


def ratios(results: Sequence[Result]) -> list[str]:
    """Markdown: Holub to the peer, as ratios of medians."""
    groups = {(load, subject): some for load, subject, some in _groups(results)}
    lines = [
        "| load | Holub : Postfix+Dovecot | rate | CPU per message | memory |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (load, subject), some in groups.items():
        peer = groups.get((load, _PEER))
        if subject == _PEER or not peer:
            continue
        rate = median(some, lambda r: r.rate) / median(peer, lambda r: r.rate)
        cpu = median(some, lambda r: r.cpu_us) / median(peer, lambda r: r.cpu_us)
        memory = median(some, lambda r: r.pss) / median(peer, lambda r: r.pss)
        lines.append(f"| {load} | {subject} | {rate:.2f} | {cpu:.2f} | {memory:.2f} |")
    return lines if len(lines) > 2 else []


def families(results: Sequence[Result]) -> list[str]:
    """Markdown: CPU microseconds for each message, by process family."""
    lines = ["| load | system | CPU us/message by process |", "| --- | --- | --- |"]
    for load, subject, some in _groups(results):
        parts = []
        for name in some[0].cpu:
            us = statistics.median(r.cpu[name] * 1e6 / r.messages for r in some)
            parts.append(f"{name} {us:,.0f}")
        generator = median(some, lambda r: r.generator_cpu * 1e6 / r.messages)
        lines.append(f"| {load} | {subject} | {', '.join(parts)} (generator {generator:,.0f}) |")
    return lines


def _groups(results: Sequence[Result]) -> list[tuple[str, str, list[Result]]]:
    keys = dict.fromkeys((result.load, result.subject) for result in results)
    loads = dict.fromkeys(load for load, _ in keys)
    return [
        (load, subject, [r for r in results if (r.load, r.subject) == (load, subject)])
        for load in loads
        for wanted, subject in keys
        if wanted == load
    ]


def machine() -> str:
    """Where it was measured, in one line."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024**3
    python = platform.python_version()
    return f"{os.cpu_count()} x {model}, {memory} GiB, {platform.system()}, Python {python}"


def block(
    results: Sequence[Result], command: str, durability: dict[str, list[str]], notes: Sequence[str]
) -> list[str]:
    """Everything that is measured, as Markdown."""
    return [
        f"Command: `{command}`  ",
        f"Date: {time.strftime('%Y-%m-%d', time.gmtime())}  ",
        f"Machine: {machine()}; load average at the end {os.getloadavg()[1]:.1f}",
        "",
        *table(results),
        "",
        *ratios(results),
        "",
        *families(results),
        "",
        *(f"- {name}: {'; '.join(settings)}" for name, settings in durability.items()),
        *(f"- {note}" for note in notes),
    ]


def write(lines: Sequence[str], document: Path = DOCUMENT) -> None:
    """Replace what stands between the markers."""
    text = document.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    document.write_text("\n".join([before + BEGIN, "", *lines, "", END]) + after)
