"""`orc prompt`, `orc doctor --try`, and agents that are taken out, as a person sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator
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


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("--attempt", "7"), 3, "has no attempt-7"),
        (("--agent", "nobody"), 3, "there is no agent 'nobody'"),
        (("--agent", "worker", "--attempt", "1"), 2, "one of the two"),
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


def test_an_agent_that_drains_gets_nothing_new(root: Path) -> None:
    soul = root / "souls" / "worker.md"
    soul.write_text(soul.read_text().replace("---\n", "---\ndrain: moving on\n", 1))
    job = w.submit(root, "title: greet\nprompt: greet the world\n")
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    assert "drained: moving on" in w.orc(root, "workers", code=0).out
    assert "it drains: moving on" in w.orc(root, "show", job, code=0).out
    soul.write_text(soul.read_text().replace("drain: moving on\n", ""))
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    assert "greet.card" in w.orc(root, "status", code=0).out.replace(job, "greet")
