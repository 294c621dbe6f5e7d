"""Writes what was found: JSON for programs, Markdown for people, a plot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.result import Result


def write_report(out: Path, facts: Mapping[str, Any], found: Mapping[str, Sequence[Result]], *, quick: bool) -> None:
    """Write `latest.json`, `latest.md`, `latest.svg`. What was not run now is kept from before, of the same form."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "latest.json"
    kept = _before(path, quick=quick)
    mine: dict[str, Any] = {
        name: {"machine": dict(facts), "results": [each.to_json() for each in results]}
        for name, results in found.items()
    }
    every = dict(sorted({**kept, **mine}.items(), key=lambda item: _figure(item[1])))
    path.write_text(json.dumps({"quick": quick, "benchmarks": every}, indent=1, ensure_ascii=False) + "\n")
    results = {name: [Result.from_json(v) for v in each["results"]] for name, each in every.items()}
    machines = {name: each["machine"] for name, each in every.items()}
    (out / "latest.md").write_text(markdown(machines, results, quick=quick))
    try:
        from benchmarks.plot import draw
    except ImportError:
        return
    draw(out / "latest.svg", results)


def _figure(each: Mapping[str, Any]) -> int:
    return min((int(result["figure"]) for result in each["results"]), default=0)


def _before(path: Path, *, quick: bool) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    same = isinstance(data, dict) and data.get("quick") == quick
    return dict(data["benchmarks"]) if same else {}


def markdown(machines: Mapping[str, Mapping[str, Any]], found: Mapping[str, Sequence[Result]], *, quick: bool) -> str:
    """A table of all figures, and on which machine each benchmark found them."""
    lines = ["# Results", ""]
    if quick:
        lines += ["The short form (`--quick`): it shows that everything runs, its numbers say little.", ""]
    lines += ["Made by `make bench`; what each figure means is in [docs/benchmarks.md](../../docs/benchmarks.md).", ""]
    lines += _where(machines, found)
    lines += ["| # | what | median | middle half | ratio | limit | aim | |", "|---|---|---|---|---|---|---|---|"]
    for results in found.values():
        lines += [_row(each) for each in results]
    lines += ["", "What bounds each, and what it is compared with:", ""]
    for results in found.values():
        lines += [_words(each) for each in results if each.bounded_by or each.note or each.baseline]
    return "\n".join(lines) + "\n"


def _where(machines: Mapping[str, Mapping[str, Any]], found: Mapping[str, Sequence[Result]]) -> list[str]:
    """What was found on which machine: benchmarks are run one by one too, and what was not run stays as it was."""
    lines = []
    groups: dict[str, list[str]] = {}
    for name, facts in machines.items():
        lasting = {key: value for key, value in facts.items() if not key.startswith("load_")}
        told = "; ".join(f"{key.replace('_', ' ')}: {value}" for key, value in lasting.items())
        groups.setdefault(told, []).append(name)
    for told, names in groups.items():
        figures = [each.figure for name in names for each in found.get(name, ())]
        loads = ", ".join(f"{name} {_load(machines[name])}" for name in names)
        lines += [f"Figures {', '.join(dict.fromkeys(figures))}:", "", f"- {told}", f"- load: {loads}", ""]
    return lines


def _load(facts: Mapping[str, Any]) -> str:
    after = f", {facts['load_after']} after" if "load_after" in facts else ""
    return f"({facts.get('load_before', '?')} before{after})"


def _row(each: Result) -> str:
    sign = "≥" if each.at_least else "≤"
    of = " of the ratio" if each.on_ratio else ""
    value = "not measured" if each.value is None else f"{_number(each.value)} {each.unit}"
    spread = "" if each.low is None or each.high is None else f"{_number(each.low)} to {_number(each.high)}"
    cells = (
        each.figure,
        each.name,
        value,
        spread,
        "" if each.ratio is None else f"{each.ratio:.2f}",
        "" if each.limit is None else f"{sign} {each.limit:g}{of}",
        "" if each.aim is None else f"{sign} {each.aim:g}{of}",
        each.verdict,
    )
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _words(each: Result) -> str:
    parts = []
    if each.baseline and each.ratio is not None:
        parts.append(f"against {each.baseline}")
    if each.bounded_by:
        parts.append(f"bounded by {each.bounded_by}")
    if each.cpu_ms is not None:
        parts.append(f"processor time {each.cpu_ms:g} ms")
    if each.processes is not None:
        parts.append(f"{each.processes:g} processes")
    parts += [each.note] if each.note else []
    return f"- **{each.figure}, {each.name}**: {'; '.join(parts)}."
