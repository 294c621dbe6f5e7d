"""Run the benchmarks: `python -m benchmarks.run [--quick] [--only NAME] [--out DIR] [--cache DIR] [--minutes N]`.

Each runs in a fresh process; without --only, all of them. Results go to benchmarks/results: JSON, Markdown and a plot.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.report import write_report
from benchmarks.result import Options, Result, load, machine_facts

NAMES = {
    "jobs": "job_overhead",
    "ledger": "ledger_steps",
    "commands": "commands",
    "idle": "idle",
    "heal": "heal",
    "disk": "disk",
    "many": "many_jobs",
    "agents": "agent_runs",
    "load": "many_agents",
    "gate": "gate_branch",
    "intake": "intake",
}
"""What can be asked for with --only, and the module that measures it."""
RESULTS = Path(__file__).resolve().parent / "results"


def main() -> int:
    """0 when everything ran, whatever the numbers are."""
    args = parse_arguments()
    options = Options(args.quick, args.cache, args.minutes)
    if args.child:
        results = importlib.import_module(f"benchmarks.{NAMES[args.child]}").measure(options)
        print(json.dumps([each.to_json() for each in results]))
        return 0
    broken = []
    for name in args.only or NAMES:
        facts, begin = machine_facts(), time.monotonic()
        print(f"{name} ...", file=sys.stderr, flush=True)
        results = run_child(name, sys.argv[1:])
        if results is None:
            broken.append(name)
            continue
        facts["load_after"] = load()
        for each in results:
            print(f"    {line_of(each)}", file=sys.stderr, flush=True)
        print(f"    ({time.monotonic() - begin:.0f} s)", file=sys.stderr, flush=True)
        # After each one: what was found is not lost when a later one breaks or is stopped.
        write_report(args.out, facts, {name: results}, quick=args.quick)
    print(f"written to {args.out}", file=sys.stderr)
    if broken:
        print(f"broken: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


def parse_arguments() -> argparse.Namespace:
    """What was asked for."""
    default = Options()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short form, for seeing that everything runs")
    parser.add_argument("--only", action="append", choices=list(NAMES), help="only this one (may be given again)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
    parser.add_argument("--cache", type=Path, default=default.cache, help="where large ledgers are kept between runs")
    parser.add_argument("--minutes", type=float, default=default.minutes, help="how long the idle engine is watched")
    parser.add_argument("--child", choices=list(NAMES), help=argparse.SUPPRESS)
    return parser.parse_args()


def run_child(name: str, arguments: list[str]) -> list[Result] | None:
    """Measure in a fresh process; None if it broke."""
    argv = [sys.executable, "-m", "benchmarks.run", *arguments, "--child", name]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return None
    values: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return [Result.from_json(value) for value in values]


def line_of(each: Result) -> str:
    """One result for the terminal."""
    value = "not measured" if each.value is None else f"{each.value:g} {each.unit}"
    ratio = f", {each.ratio:g} times {each.baseline}" if each.ratio is not None else ""
    bound = f" [{each.verdict}: {'at least' if each.at_least else 'at most'} {each.limit:g}]" if each.verdict else ""
    return f"{each.figure:>2} {each.name}: {value}{ratio}{bound}"


if __name__ == "__main__":
    sys.exit(main())
