"""`orc prompt`, `orc doctor --try`, and agents that are taken out, as a person sees them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import cli_world as w
import pytest
from fake_models import FakeModels

API_SOUL = """---
backend: api
model: strong-1
family: north
roles: [work]
voice:
  tag: Speaks in short sentences.
---

## Values
Keeps it small.
"""
KEY = {"ANTHROPIC_API_KEY": "sk-ant-not-a-key-4711"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return w.new_workspace(tmp_path / "work")


@pytest.fixture
def service() -> Iterator[FakeModels]:
    with FakeModels([{"text": "READY", "usage": {"input": 7, "output": 2}}]) as fake:
        yield fake


def add_api(root: Path, url: str) -> None:
    config = root / "orc.yaml"
    backend = f"backends:\n  api:\n    type: anthropic\n    base_url: {url}\n    args: [--tries=1]\n"
    config.write_text(config.read_text().replace("backends:\n", backend, 1))
    (root / "souls" / "keeper.md").write_text(API_SOUL)


def test_it_shows_what_the_next_attempt_would_be_told_and_starts_nothing(root: Path, service: FakeModels) -> None:
    add_api(root, service.url)
    job = w.submit(root, "title: greet\nprompt: greet the world\nskills: [small-diffs]\n")
    before = w.git(root, "rev-parse", "orc/state")
    shown = w.orc(root, "prompt", job, "--agent", "keeper", env=KEY, code=0).out
    assert "the next attempt, as things are" in shown
    system, message = shown.split("──── message ────")
    assert "Keeps it small." in system
    assert "Keeps it small." not in message
    assert message.index("<voice>Speaks in short sentences.</voice>") < message.index("greet the world")
    assert "small-diffs (asked for)" in shown
    assert w.git(root, "rev-parse", "orc/state") == before
    assert service.requests == []


def test_for_a_program_without_a_system_prompt_it_says_so(root: Path) -> None:
    job = w.submit(root, "title: greet\nprompt: greet the world\n")
    shown = w.orc(root, "prompt", job, code=0).out
    assert "identity degraded" in shown
    assert shown.split("──── message ────")[1].lstrip().startswith("<identity>")


def test_show_says_why_this_agent_who_it_was_and_with_which_skills(root: Path) -> None:
    job = w.submit(root, "title: greet\nprompt: greet the world\nskills: [small-diffs]\n")
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    shown = w.orc(root, "show", job, code=0).out
    blob = w.git(root, "hash-object", "skills/small-diffs/SKILL.md")
    assert "chosen: rule 6, free, and nobody goes before it\n" in shown
    assert "session" not in shown, "its program has none"
    assert f"skills: small-diffs@{blob[:12]}" in shown
    assert shown.count("identity degraded: ") == 2
    records = w.orc(root, "show", job, "--json", code=0).json()["records"]
    assert (records["attempt-1"]["identity"], records["review-1"]["identity"]) == ("degraded", "degraded")


def test_it_shows_word_for_word_what_an_attempt_was_told(root: Path) -> None:
    job = w.asked(root)
    told = json.loads(w.orc(root, "prompt", job, "--attempt", "1", "--json", code=0).out)
    path = w.git(root, "ls-tree", "-r", "--name-only", "orc/state").splitlines()
    kept = next(each for each in path if each.endswith("attempt-1.prompt.md"))
    assert told["message"].strip() == w.git(root, "show", f"orc/state:{kept}")
    assert told["tokens"] == sum(part["tokens"] for part in told["parts"])
    parts = w.orc(root, "prompt", job, "--attempt", "1", "--parts", code=0).out
    assert "greet the world" not in parts
    assert "task" in parts


def test_it_shows_what_a_reviewer_was_told_with_the_diff_and_without_the_nonce(root: Path) -> None:
    job = w.asked(root)
    shown = w.orc(root, "prompt", job, "--review", "1", code=0).out
    assert f"{job}: review 1, of attempt 1\n" in shown
    assert "without: the nonce, of which only a hash is kept" in shown
    table, _, message = shown.partition("──── message ────")
    assert re.search(r"^PART {8}TOKENS  WHY\n(.+\n)*diff +\d+  the whole change\n", table, re.M)
    assert "+print(" in message
    assert '"nonce": "",' in message
    told = json.loads(w.orc(root, "prompt", job, "--review", "1", "--json", code=0).out)
    assert (told["review"], told["attempt"], told["skills"]) == (1, 1, [])
    assert all(part["why"] for part in told["parts"])


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--attempt", "7"), 3, "has no attempt-7"),
        (("--agent", "nobody"), 3, "there is no agent 'nobody'"),
        (("--agent", "wrker"), 3, "did you mean 'worker'?"),
        (("--review", "7"), 3, "has no review-7"),
        (("--agent", "worker", "--attempt", "1"), 2, "one of them"),
        (("--review", "1", "--attempt", "1"), 2, "one of them"),
    ],
)
def test_what_is_not_there_is_told(root: Path, args: tuple[str, ...], code: int, words: str) -> None:
    job = w.submit(root, "title: greet\nprompt: greet the world\n")
    done = w.orc(root, "prompt", job, *args, code=code)
    assert words in done.err


def test_a_try_asks_each_agent_one_question(root: Path, service: FakeModels) -> None:
    add_api(root, service.url)
    done = w.orc(root, "doctor", "--try", env=KEY)
    assert "try keeper: answered 'READY'" in done.out
    assert "9 tokens" in done.out
    assert [each.prompt.strip() for each in service.requests] == ["Answer with the one word READY and do nothing else."]


def test_a_try_that_fails_says_why(root: Path, service: FakeModels) -> None:
    add_api(root, service.url)
    service.play([{"status": 401}])
    done = w.orc(root, "doctor", "--try", env=KEY, code=1)
    assert "try keeper: no answer (auth)" in done.out


@pytest.mark.slow
def test_a_try_leaves_out_the_agents_that_cannot_be_asked(root: Path, service: FakeModels) -> None:
    add_api(root, service.url)
    (root / "souls" / "gone.md").write_text(API_SOUL.replace("---\n", "---\ndrain: moving on\n", 1))
    done = w.orc(root, "doctor", "--try", env=KEY, code=0)
    assert "agent gone: gets nothing new: moving on" in done.out
    assert "try keeper: answered" in done.out
    assert "try gone: answered" in done.out, "what it has begun it has to be able to end"
    (root / "souls" / "worker.md").write_text(w.WORKER.replace("player", "absent"))
    tried = [each["what"] for each in w.orc(root, "doctor", "--try", "--json", env=KEY, code=1).json()["findings"]]
    assert "agent worker" in tried
    assert "try worker" not in tried


def test_doctor_tells_the_version_of_the_package_that_speaks_the_api(root: Path, tmp_path: Path) -> None:
    add_api(root, "http://127.0.0.1:9")
    decoy = tmp_path / "bin" / "anthropic"
    decoy.parent.mkdir()
    decoy.write_text("#!/bin/sh\necho another program\n")
    decoy.chmod(0o755)
    told = w.orc(root, "doctor", env={**KEY, "PATH": f"{decoy.parent}{os.pathsep}{os.environ['PATH']}"}, code=0).out
    assert f"backend api: the Python package anthropic {version('anthropic')}; " in told
    assert "another program" not in told
    soul = root / "souls" / "keeper.md"
    soul.write_text(soul.read_text().replace("---\n", "---\ndrain: true\n", 1))
    assert "backend api: the Python package" in w.orc(root, "doctor", env=KEY, code=0).out, "it may still be started"


def test_doctor_asks_the_program_that_lies_in_the_workspace(root: Path) -> None:
    program = root / "tools" / "claude"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 7.7.7 of ours\n")
    program.chmod(0o755)
    config = root / "orc.yaml"
    config.write_text(config.read_text().replace("backends:\n", "backends:\n  claude: {program: tools/claude}\n", 1))
    (root / "souls" / "keeper.md").write_text(API_SOUL.replace("backend: api", "backend: claude"))
    (root / "below").mkdir()
    told = w.orc(root / "below", "doctor", env=KEY, code=0).out
    assert f"backend claude: {program}: 7.7.7 of ours (orc was tried with " in told


def test_show_tells_what_was_written_to_the_cache_before_anything_was_read_from_it(
    root: Path, service: FakeModels
) -> None:
    add_api(root, service.url)
    usage = {"input": 7, "output": 2, "cache_write": 2000}
    write = {"name": "write", "input": {"path": "hello.py", "content": "print('hello')\n"}}
    service.play(
        [{"times": 1, "tools": [write], "usage": usage}, {"text": "Done.", "usage": {"input": 7, "output": 2}}]
    )
    job = w.submit(root, "title: greet\nprompt: greet\nagent: keeper\n")
    w.orc(root, "run", "--until-idle", "--quiet", env=KEY, code=1)
    assert "cache 0 read and 2,000 written" in w.orc(root, "show", job, code=0).out


def test_an_agent_that_drains_gets_nothing_new(root: Path) -> None:
    soul = root / "souls" / "worker.md"
    soul.write_text(soul.read_text().replace("---\n", "---\ndrain: moving on\n", 1))
    job = w.submit(root, "title: greet\nprompt: greet the world\n")
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    assert "drains: moving on" in w.orc(root, "workers", code=0).out
    assert "it drains: moving on" in w.orc(root, "show", job, code=0).out
    soul.write_text(soul.read_text().replace("drain: moving on\n", ""))
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    assert "greet.card" in w.orc(root, "status", code=0).out.replace(job, "greet")
