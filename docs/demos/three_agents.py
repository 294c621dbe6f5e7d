"""Three real agents side by side on one repository, one reviewing another: what `docs/demos/three-agents.txt` shows.

`python docs/demos/three_agents.py` after `make test-agents` has installed the programs. The model behind them is the
scripted service of the tests, on loopback: the programs are real, the tokens and costs are what that service claims.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(SOURCE), str(SOURCE / "tests"), str(SOURCE / "tests" / "agents")]

from agent_kinds import KINDS  # noqa: E402  (they lie in the tests)
from cli_install import PROGRAMS, has_only_loopback, only_loopback  # noqa: E402
from fake_dialects import Asked  # noqa: E402
from fake_models import FakeModels  # noqa: E402

AGENTS = {
    "claude": ("ada", "anthropic", "claude-sonnet-5", "Ada. Calm and exact."),
    "codex": ("linus", "openai", "gpt-5.5", "Linus. Dry, and short."),
    "gemini": ("grace", "google", "gemini-2.5-flash", "Grace. Explains with her hands."),
}
FILES = {"ada": "greeting.py", "linus": "farewell.py", "grace": "welcome.py"}
PRICES = {"anthropic": (3, 15), "openai": (2, 10), "google": (1, 5)}
USAGE = {"input": 1200, "output": 80, "cache_read": 9000}
FORM = "Your whole answer is exactly one JSON object"
DELAY = 4.0
"""Seconds that the model thinks, so that they can be seen side by side."""


def main() -> int:
    """Play it, and print what a person would see. 0 if all three jobs were done."""
    if not all(program.is_there() for program in PROGRAMS):
        print("the agents' programs are not installed: make test-agents", file=sys.stderr)
        return 2
    if not has_only_loopback():
        return subprocess.run(only_loopback([sys.executable, __file__]), check=False).returncode
    with tempfile.TemporaryDirectory(prefix="orc-demo-") as made, FakeModels([]) as service:
        root = Path(made) / "shop"
        set_up(root, service)
        service.play(turns(root))
        return play(root)


def turns(root: Path) -> list[dict[str, Any]]:
    """What the model says: each author writes its file, each reviewer approves what it has read."""
    found: list[dict[str, Any]] = []
    for kind in KINDS:
        if kind.name not in AGENTS:
            continue
        agent = AGENTS[kind.name][0]
        tree = root / "state" / "trees" / agent / "main"
        path = FILES[agent] if kind.name == "codex" else str(tree / FILES[agent])
        first = {"api": kind.api, "match": FILES[agent], "after_tool": False, "has_tools": True, "times": 1}
        call = kind.write(path, f'print("{agent} was here")\n')
        found.append({**first, "tools": [call], "usage": USAGE, "delay": DELAY})
        found.append({"api": kind.api, "match_tool": ".", "text": f"{FILES[agent]} is written.", "usage": USAGE})
    tools = {kind.api: kind.form_tool for kind in KINDS if kind.form_tool}
    told = [{"api": api, "after_tool": tool, "text": "It is approved.", "usage": USAGE} for api, tool in tools.items()]
    return [*told, {"match": FORM, "reply": lambda asked: approve(asked, tools), "usage": USAGE}, *found]


def approve(asked: Asked, tools: Mapping[str, str]) -> dict[str, Any]:
    """The form of the review, filled in: as the answer, or with the tool that the program has for it."""
    text = next(each for each in reversed(asked.users) if FORM in each)
    form = json.JSONDecoder().raw_decode(text[text.rindex('{\n  "nonce"') :])[0]
    # Claude Code turns a form away that is not filled in whole; the prompt's own leaves out what a review has none of.
    filled = {**form, "verdict": "APPROVED", "claims": [], "findings": []}
    filled["summary"] = "It prints one line, as it was asked to."
    tool = tools.get(asked.api)
    answer = {"tools": [{"name": tool, "input": filled}]} if tool else {"text": json.dumps(filled)}
    return {**answer, "delay": DELAY / 2}


def set_up(root: Path, service: FakeModels) -> None:
    """A repository with three agents of three families."""
    (root / "souls").mkdir(parents=True)
    programs = {program.name: program.path for program in PROGRAMS}
    config: list[str] = ["version: 1", "tick_seconds: 1", "review: {second: 0}"]
    config += ["projects:", "  main:", "    target: main"]
    config += ['    checks: ["for f in *.py; do python3 $f || exit 1; done"]', "    merge: auto", "backends:"]
    models = ["models:"]
    for name, (agent, family, model, body) in AGENTS.items():
        config += [f"  {name}:", f"    type: {name}", f"    program: {programs[name]}", f"    base_url: {service.url}"]
        config += ["    quick: true"]  # The scripted model answers at once.
        read, write = PRICES[family]
        models += [f"  {model}:", f"    family: {family}"]
        models += [f"    price: {{date: '2026-11-21', input: {read}, output: {write}, cache_read: 0.1}}"]
        persistent = "true" if name == "claude" else "false"
        soul = f"---\nbackend: {name}\nmodel: {model}\nfamily: {family}\npersistent: {persistent}\n---\n"
        (root / "souls" / f"{agent}.md").write_text(f"{soul}{body}\n")
    (root / "orc.yaml").write_text("\n".join([*config, *models]) + "\n")
    (root / "hello.py").write_text('print("hello")\n')
    for command in (
        ("init", "-q", "-b", "main"),
        ("config", "user.name", "Person"),
        ("config", "user.email", "person@example.invalid"),
        ("add", "-A"),
        ("commit", "-qm", "a shop"),
    ):
        subprocess.run(["git", "-C", str(root), *command], check=True)
    orc(root, "init")


def play(root: Path) -> int:
    """Drop three jobs, look while they run, and look at what came of it."""
    for agent, file in FILES.items():
        text = f"title: Write {file}\nagent: {agent}\nprompt: Write {file}, which prints one line.\n"
        orc(root, "submit", "-", "--name", file.removesuffix(".py"), stdin=text)
    print(
        "# Real programs, scripted model: tokens and costs are what the model service on loopback claims.\n", flush=True
    )
    with subprocess.Popen([*argv(), "run", "--until-idle"], cwd=root, env=environment(), text=True) as engine:
        deadline = time.monotonic() + 120
        while orc(root, "workers").count("working on") < len(AGENTS) and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(DELAY / 4)
        for verb in ("workers", "ps"):
            show(root, verb)
        engine.wait(timeout=300)
    for verb in ("status", "workers", "costs"):
        show(root, verb)
    jobs = [show(root, "show", file.removesuffix(".py")) for file in FILES.values()]
    show(root, "log")
    return 0 if all(job.partition("\n")[0].endswith("  done") for job in jobs) else 1


def show(root: Path, *args: str) -> str:
    """Print a command and what it prints, which is given back too."""
    printed = orc(root, *args)
    print(f"\n$ orc {' '.join(args)}\n{printed}", flush=True)
    return printed


def argv() -> list[str]:
    """The command line of this checkout's orc."""
    return [sys.executable, "-m", "orchestrator"]


def environment() -> dict[str, str]:
    """Dummy keys, an empty HOME, nothing else."""
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), "LANG": "C.UTF-8", "HOME": "/nonexistent"}
    keys = {kind.key_env: "sk-not-a-key" for kind in KINDS}
    node = shutil.which("node")
    return {**kept, **keys, "COLUMNS": "150", **({"PATH": f"{Path(node).parent}:{kept['PATH']}"} if node else {})}


def orc(root: Path, *args: str, stdin: str = "") -> str:
    """What a command prints."""
    done = subprocess.run(
        [*argv(), *args], cwd=root, env=environment(), input=stdin, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main())
