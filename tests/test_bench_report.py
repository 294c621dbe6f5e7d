"""The report of the benchmarks says of each figure on which machine it was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.report import write_report
from benchmarks.result import Result


def found(figure: str) -> list[Result]:
    return [Result(figure, f"figure {figure}", 1.0, "ms")]


def machine(cpu: str, load: float) -> dict[str, Any]:
    return {"cores": 2, "cpu": cpu, "load_before": load, "load_after": 9.0}


def test_what_was_kept_from_before_is_told_with_the_machine_that_it_was_found_on(tmp_path: Path) -> None:
    for cpu, load, name, figure in (
        ("Old", 3.5, "ledger", "3"),
        ("New", 0.25, "jobs", "1"),
        ("New", 0.5, "disk", "7"),
    ):
        write_report(tmp_path, machine(cpu, load), {name: found(figure)}, quick=False)
    told = (tmp_path / "latest.md").read_text()
    assert (
        "Figures 1, 7:\n\n- cores: 2; cpu: New\n- load: jobs (0.25 before, 9.0 after), disk (0.5 before, 9.0 after)\n"
        in told
    )
    assert "Figures 3:\n\n- cores: 2; cpu: Old\n- load: ledger (3.5 before, 9.0 after)\n" in told
    assert told.index("Figures 3:") < told.index("| # | what |")
