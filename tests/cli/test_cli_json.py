"""Every `--json` output is what `orchestrator/schemas/cli.schema.json` says."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import cli_world as w
import click
import pytest
from jsonschema import Draft202012Validator

from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_paths import service_path
from orchestrator.adapters.ledger_text import format_record
from orchestrator.adapters.schemas import load_schema
from orchestrator.cli.main import VERBS
from orchestrator.core.service import Service, Shut, Went
from orchestrator.engine.workspace import open_workspace

SCHEMA = dict(load_schema("cli"))


def definition(command: str) -> Draft202012Validator:
    """What one command prints."""
    return Draft202012Validator({"$ref": f"#/$defs/{command.replace(' ', '%20')}", "$defs": SCHEMA["$defs"]})


def commands() -> Iterator[str]:
    """Every command that knows `--json`."""
    for verb, (module, _) in VERBS.items():
        found = getattr(importlib.import_module(f"orchestrator.cli.{module}"), "help_" if verb == "help" else verb)
        below = found.commands if isinstance(found, click.Group) else {"": found, **getattr(found, "commands", {})}
        for name, command in below.items():
            if any("--json" in param.opts for param in command.params):
                yield f"{verb} {name}".strip()


def test_the_schema_is_valid_and_has_one_entry_for_each_command() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    named = {name for name in SCHEMA["$defs"] if not name.startswith("_")}
    assert named == {*commands(), "error"}
    assert len(SCHEMA["oneOf"]) == len(named)


def test_help_prints_the_schema(tmp_path: Path) -> None:
    assert json.loads(w.orc(tmp_path, "help", "json", code=0).out) == SCHEMA


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_what_every_command_prints_is_what_the_schema_says(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    seen = set()

    def check(*args: str, stdin: str = "", code: int = 0) -> dict[str, object]:
        done = w.orc(root, *args, "--json", stdin=stdin, code=code)
        (line,) = done.out.splitlines()
        value: dict[str, object] = json.loads(line)
        command = str(value.get("command", "error"))
        definition(command).validate(value)
        Draft202012Validator(SCHEMA).validate(value)
        seen.add(command)
        return value

    check("init")
    check("new")
    check("doctor")
    check("ps")
    check("costs")
    check("simulate", "quiet-day", "--days", "0.3")
    (root / "GEMINI.md").unlink()
    check("rules", "check", code=1)
    check("doctor", "--fix")
    check("doctor", "--fix", "--yes")
    check("skills", "list")
    (root / "skills/greeting").mkdir(parents=True)
    (root / "skills/greeting/SKILL.md").write_text("---\nname: greeting\ndescription: Greets.\n---\nSay hello.\n")
    check("skills", "log", "greeting")
    blob = str(check("skills", "show", "greeting")["blob"])
    check("skills", "diff", "greeting", blob, blob[:8])
    check("skills", "diff", "greeting", code=2)
    (root / "schedules").mkdir()
    (root / "schedules/inbox.yaml").write_text("cron: '@daily'\ntz: UTC\njob: {prompt: Look., hold: wait}\n")
    check("schedule", "list")
    check("schedule", "next", "inbox", "-n", "2")
    check("schedule", "explain", "inbox")
    check("cancel", str(check("schedule", "run", "inbox")["job"]))
    check("schedule", "explain", "nobody", code=3)
    with (root / "orc.yaml").open("a") as file:
        file.write("notify: {about: [rejected], to: {mine: {command: ['true']}}}\n")
    check("trace")
    check("sweep", "--dry-run")
    check("routine")
    check("routine", "pack")
    check("notify", "test")
    check("notify", "send")
    check("notify", "list")
    check("rules", "build")
    (root / "GEMINI.md").write_text("mine\n")
    check("rules", "build", code=4)
    check("rules", "adopt", "GEMINI.md")
    w.git(root, "commit", "--quiet", "--all", "-m", "rules")  # A checkout that is clean takes merges.
    job = str(check("submit", "-", "--name", "greet", stdin="title: greet\nprompt: greet\n")["job"])
    check("hold", job, "--because", "why")
    check("edit", job, "--set", "minutes=30")
    check("release", job)
    check("release", job, code=4)
    other = str(check("submit", "-", "--name", "other", stdin="title: other\nprompt: x\n")["job"])
    check("prompt", other)
    check("cancel", other)
    check("retry", other)
    check("cancel", other)
    check("status")
    check("run", "--until-idle", code=1)
    check("status")
    check("health")
    check("health", "--since", "1h")
    check("health", "--since", "soon", code=2)
    check("show", job)
    check("diff", job)
    check("diff", job, "--stat")
    check("logs", job)
    check("log")
    check("workers")
    check("prompt", job, "--attempt", "1")
    check("prompt", job, "--review", "1")
    check("workers", "worker")
    check("ps", "--tree")
    check("drain", "worker", "--because", "moving on")
    check("drain", "worker", "--undo")
    check("retire", "worker", code=4)
    check("drain", "worker", "--undo")
    check("drain", "worker", "--undo", code=4)
    (root / "souls" / "idle.md").write_text(w.WORKER)
    check("retire", "idle")
    check("retire", "idle", "--undo")
    (root / "souls" / "idle.md").unlink()
    check("reject", job, "-m", "Louder.")
    check("run", "--until-idle", code=1)
    check("show", job)
    check("answer", f"{job}.card-2", "retry")
    check("run", "--until-idle", code=1)
    check("show", "nothing", code=3)
    check("show", code=2)
    third = str(check("submit", "-", "--name", "greet", stdin="title: greet\nprompt: greet\nagain: true\n")["job"])
    check("run", "--until-idle", code=1)
    check("approve", third, code=4)
    check("approve", f"{third}.card-1")
    check("run", "--once")
    check("run", "--until-idle", code=1)
    check("log", third)
    check("show", third)
    check("revert", third)
    check("gate", "HEAD", "--base", "HEAD~1", "--reviewer", "critic")
    check("gate", "HEAD", "--base", "HEAD~1", "--check", "false", code=1)
    check("gate", "main", "--base", "main", code=4)
    check("gate", "nothing", code=3)
    check("gate", "selftest", "--gate", "reviewer")
    check("gate", "selftest", "--reviewer", "critic", code=1)
    check("scars")
    check("verify")
    check("reopen", "player", code=4)
    with open_workspace(root) as ws, ws.ledger.writing() as writer:
        refused = Shut("2026-11-20T12:00:00Z", "2099-11-20T12:00:00Z", Went.REFUSED, "401")
        known = format_record(Service("player", 1, refused=3, shut=refused))
        writer.file(Filing("service: player shut", {service_path("player"): known}), ws.now())
    for command in ("status", "workers", "ps"):
        assert check(command)["services"]
    assert check("health", code=1)["services"]
    check("reopen", "player")
    assert seen == {*commands(), "error"} - {"demo"}  # Its own test plays it.


def test_a_schema_that_is_not_kept_is_noticed() -> None:
    assert not definition("cancel").is_valid({"schema": "orc/cli/v1", "command": "cancel", "job": "x"})


@pytest.mark.parametrize("text", ["\x1b[31m", "\x9b2J", "\u202e"])
def test_json_is_inert_too(tmp_path: Path, text: str) -> None:
    out = w.orc(tmp_path, "show", f"x{text}", "--json").out
    assert text not in out
