"""The documents say what is true: links lead somewhere, commands and keys exist, and the examples work as printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from orchestrator.adapters.config_file import parse_config, read_config
from orchestrator.adapters.documents import parse_claims
from orchestrator.adapters.job_file import parse_job
from orchestrator.adapters.library import read_criteria, read_souls, scan_schedules
from orchestrator.adapters.run_folder import RunFolder, build_environment
from orchestrator.adapters.run_values import LimitsSpec, RunKind, RunSpec
from orchestrator.adapters.scenario_file import parse_scenario
from orchestrator.cli.main import VERBS, orc
from orchestrator.core.card import OPTIONS
from orchestrator.core.claims import claim_blocks
from orchestrator.core.goal import GOAL_TABLE, ProjectState
from orchestrator.core.job import State
from orchestrator.core.kinds import RULES as KIND_RULES
from orchestrator.core.review_record import Verdict
from orchestrator.core.transitions import TABLE, ActorKind
from orchestrator.core.verdict import Question, hash_nonce, judge_reply
from orchestrator.engine.agents import BUILT_IN

PROJECT = Path(__file__).resolve().parents[1]
DOCS = PROJECT / "docs"
HOW_TO = DOCS / "how-to"
PAGES = sorted([PROJECT / "README.md", *PROJECT.glob("integrations/*/README.md"), *DOCS.rglob("*.md")])
CLAUDE = HOW_TO / "claude-through-command"

_FENCED = re.compile(r"^(?P<pad> *)(?P<fence>`{3,})(?P<language>\w*)\n(?P<text>.*?)^(?P=pad)(?P=fence)$", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\((?P<to>[^)\s]+)\)")
_INDENTED = re.compile(r"^ {4}((?:git )?orc .*)$", re.M)
_CALL = re.compile(r"(?:^|(?<=[\s|;&(]))(?:git )?orc(?P<rest>(?: [^\n|;&#>)]*)?)", re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found["language"], found["text"])
        for found in _FENCED.finditer(text)
    ]


def prose_of(page: Path) -> str:
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def name_of(page: object) -> str:
    return str(page.relative_to(PROJECT)) if isinstance(page, Path) else str(page)


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def table_rows(page: Path, heading: str = "") -> list[list[str]]:
    """The cells of every line of a page's tables, or of the one table with that line as its heading."""
    text = prose_of(page)
    if heading:
        assert heading in text
        text = text.partition(heading)[2].strip("\n").partition("\n\n")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# --- links ---


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    broken = []
    for found in _LINK.finditer(prose_of(page)):
        target, _, anchor = found["to"].partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        path = (page.parent / target).resolve() if target else page
        is_inside = path.is_relative_to(PROJECT) and path.exists()
        if not is_inside or (anchor and anchor not in anchors_of(path)):
            broken.append(found["to"])
    assert broken == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    ahead = [PROJECT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen or page.suffix != ".md" or not page.is_file():
            continue
        seen.add(page)
        targets = [found["to"].partition("#")[0] for found in _LINK.finditer(prose_of(page))]
        ahead += [(page.parent / each).resolve() for each in targets if each and "://" not in each]
    # The souls of a recipe are files to copy, not pages.
    assert [name_of(page) for page in PAGES if page not in seen and "souls" not in page.parts] == []


def test_the_index_lists_every_decision_and_its_title() -> None:
    folder = DOCS / "decisions"
    records = sorted(folder.glob("[0-9]*.md"))
    listed = {found["to"] for found in _LINK.finditer((folder / "README.md").read_text(encoding="utf-8"))}
    assert listed == {path.name for path in records}
    for path in records:
        assert path.read_text(encoding="utf-8").startswith(f"# {path.name[:4]}: ")
    numbers = [int(path.name[:4]) for path in records]
    assert numbers == list(range(1, len(records) + 1))


# --- commands ---


def calls_of(page: Path) -> Iterator[tuple[str, list[str]]]:
    """Every command line of orc that a page shows in code: as it stands there, and its words."""
    code = [found for found in re.findall(r"`([^`\n]+)`", prose_of(page)) if re.match(r"(?:git )?orc(?= |$)", found)]
    code += _INDENTED.findall(prose_of(page))
    for block in blocks_of(page):
        if block.language == "sh":
            code += [line for line in block.text.splitlines() if not line.lstrip().startswith("#")]
        elif not block.language:
            code += [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
    for text in code:
        for found in _CALL.finditer(text):
            rest = found["rest"]
            try:
                words = shlex.split(rest)
            except ValueError:
                words = rest.split()  # a quoted text that goes on in the next line
            if words or text.strip() == "orc":
                yield found[0].strip(), words


def unknown_in(words: list[str]) -> str:
    """What a command line names that does not exist, '' if all of it does."""
    command: click.Command = orc
    while words and isinstance(command, click.Group):
        first, *words = words
        if first.startswith("-"):
            if first not in options_of(command):
                return first
            words = words[1:] if first == "-C" else words
            continue
        found = command.get_command(click.Context(command), first)
        if found is None:
            return first
        command = found
    below = getattr(command, "commands", {}) if words else {}
    command = below.get(words[0], command) if below else command
    known = options_of(command)
    return next((word for word in words if word.startswith("-") and word.partition("=")[0] not in known), "")


def options_of(command: click.Command) -> set[str]:
    found = {name for each in command.params if isinstance(each, click.Option) for name in each.opts}
    return {*found, "--help", "-h", "-"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    wrong = [f"{text}: {problem}" for text, words in calls_of(page) if (problem := unknown_in(list(words)))]
    assert wrong == []


def test_the_search_for_commands_finds_them_and_their_mistakes() -> None:
    found = {words[0] for page in PAGES for _, words in calls_of(page) if words and not words[0].startswith("-")}
    assert {"init", "run", "approve", "verify", "doctor", "rules", "logs"} <= found <= set(VERBS)
    indented = {words[0] for _, words in calls_of(HOW_TO / "agents.md")}
    assert {"doctor", "workers", "prompt"} <= indented
    assert unknown_in(["rum"]) == "rum"
    assert unknown_in(["run", "--until-idle", "--forever"]) == "--forever"
    assert unknown_in(["rules", "make"]) == "make"
    assert unknown_in(["-C", "elsewhere", "run", "--once"]) == ""


# --- keys and tables ---


def keys_of(schema: dict[str, Any], before: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, own in schema.get("properties", {}).items():
        yield before + name, own
        yield from keys_of(own, f"{before}{name}.")
        if isinstance(own.get("items"), dict):
            yield from keys_of(own["items"], f"{before}{name}[].")


def test_write_a_job_describes_every_key_and_no_other() -> None:
    schema = json.loads((PROJECT / "orchestrator/schemas/job.schema.json").read_text(encoding="utf-8"))
    rows = {named(row[0])[0]: row[1] for row in table_rows(HOW_TO / "write-a-job.md") if named(row[0])}
    keys = dict(keys_of(schema))
    assert set(rows) == set(keys)
    for key, own in keys.items():
        missing = [value for value in own.get("enum", []) if f"`{value}`" not in rows[key]]
        assert not missing, f"{key}: {missing}"


def test_the_table_of_events_is_the_one_that_the_engine_obeys() -> None:
    states = {state.value: state for state in State}
    told: dict[str, set[tuple[State | None, State]]] = {}
    for row in table_rows(DOCS / "architecture.md", "| event | from | to | by |"):
        sources: list[State | None] = [states[name] for name in named(row[1])]
        sources = [None] if row[1] == "nothing" else sources
        event = named(row[0])[0]
        for source in sources:
            targets = [source] if row[2] == "the same" else [states[name] for name in named(row[2])]
            told.setdefault(event, set()).update((source, target) for target in targets if target)
        kinds = {"engine": {ActorKind.ENGINE}, "you": {ActorKind.HUMAN}, "anyone": set(ActorKind)}
        assert kinds[row[3]] == next(legal.actors for each, legal in TABLE.items() if each == event)
    assert told == {event.value: set(legal.steps) for event, legal in TABLE.items()}


def test_the_steps_of_a_project_are_those_that_the_engine_obeys() -> None:
    told: dict[str, tuple[dict[ProjectState | None, ProjectState], ActorKind]] = {}
    for row in table_rows(DOCS / "architecture.md", "| step of a project | from | to | by |"):
        sources: list[ProjectState | None] = [ProjectState(name) for name in named(row[1])]
        sources += [None] if row[1].startswith("nothing") else []
        kind = {"engine": ActorKind.ENGINE, "you": ActorKind.HUMAN}[row[3]]
        told[named(row[0])[0]] = (dict.fromkeys(sources, ProjectState(named(row[2])[0])), kind)
    assert told == {event.value: (dict(steps), kind) for event, (steps, kind) in GOAL_TABLE.items()}


def test_the_table_of_cards_names_every_question_and_its_answers() -> None:
    rows = [row for row in table_rows(HOW_TO / "answer-cards.md") if named(row[0])]
    told = {named(row[0])[0]: named(row[2]) for row in rows}
    assert told == {kind.value: [option.key for option in options] for kind, options in OPTIONS.items()}


def test_use_any_program_names_every_variable_that_a_run_gets(tmp_path: Path) -> None:
    spec = RunSpec(
        run="fix-login-7f3a09c2.attempt-1", kind=RunKind.ATTEMPT, job="fix-login-7f3a09c2", number=1,
        orcdir=tmp_path, agent="engineer", project="main", tree={"path": str(tmp_path)}, limits=LimitsSpec(),
    )  # fmt: skip
    rows = table_rows(HOW_TO / "use-any-program.md")
    told = {name for row in rows for name in named(row[0])}
    assert told == set(build_environment(RunFolder(tmp_path), spec, {"PATH": "/usr/bin"}))


# --- examples ---


def is_marked(block: Block, mark: str) -> bool:
    return block.language == "yaml" and block.text.startswith(f"{mark}\n")


@pytest.mark.parametrize("block", [block for block in BLOCKS if is_marked(block, "# job")], ids=str)
def test_every_job_that_is_shown_is_a_valid_one(block: Block) -> None:
    spec = parse_job(block.text.encode(), name="shown.yaml").spec
    assert spec.prompt or spec.routine


@pytest.mark.parametrize("block", [block for block in BLOCKS if is_marked(block, "# orc.yaml")], ids=str)
def test_every_configuration_that_is_shown_is_a_valid_one(block: Block) -> None:
    assert parse_config(block.text.encode()).version == 1


@pytest.mark.parametrize("block", [block for block in BLOCKS if is_marked(block, "# criteria")], ids=str)
def test_every_criteria_that_are_shown_are_valid_ones(block: Block, tmp_path: Path) -> None:
    (tmp_path / "criteria").mkdir()
    (tmp_path / "criteria" / "shown.yaml").write_text(block.text)
    assert read_criteria(tmp_path)["shown"].items


def test_every_list_of_claims_that_is_shown_is_a_valid_one() -> None:
    page = (HOW_TO / "criteria.md").read_text(encoding="utf-8")
    (found,) = [parse_claims(text, "criteria.md", line) for line, text in claim_blocks(page)]
    assert [each.id for each in found] == ["c1", "c2"]


def test_the_how_to_names_every_rule_of_the_criteria_and_every_key() -> None:
    page = (HOW_TO / "criteria.md").read_text(encoding="utf-8")
    schema = json.loads((PROJECT / "orchestrator/schemas/criteria.schema.json").read_text(encoding="utf-8"))
    keys = {name.removeprefix("checks.") for name, _ in keys_of(schema)}
    assert [name for name in sorted({*keys, *KIND_RULES}) if f"`{name}`" not in page] == []


MARKS = ("# job", "# orc.yaml", "# criteria", "# claims", "# schedule", "# scenario")


def test_every_yaml_block_says_what_it_is() -> None:
    yaml = [block for block in BLOCKS if block.language == "yaml"]
    assert len(yaml) >= 4
    assert [str(block) for block in yaml if not any(is_marked(block, mark) for mark in MARKS)] == []


@pytest.mark.parametrize("block", [block for block in BLOCKS if is_marked(block, "# scenario")], ids=str)
def test_scenarios_of_the_documents_are_valid(block: Block) -> None:
    assert parse_scenario(block.text.encode(), name=str(block)).agents


@pytest.mark.parametrize("block", [block for block in BLOCKS if is_marked(block, "# schedule")], ids=str)
def test_every_schedule_that_is_shown_is_a_valid_one(block: Block, tmp_path: Path) -> None:
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules" / "shown.yaml").write_text(block.text)
    shelf = scan_schedules(tmp_path)
    assert (list(shelf.good), shelf.problems) == (["shown"], ())


def test_the_job_in_markdown_is_a_valid_one() -> None:
    (block,) = [block for block in blocks_of(HOW_TO / "write-a-job.md") if block.language == "markdown"]
    assert parse_job(block.text.encode(), name="shown.md").spec.kind == "writing"


def is_soul(text: str) -> bool:
    return bool(re.match(r"---\n(?:\w[^\n]*\n|[ -][^\n]*\n)*?backend: ", text))


SOULS = [block for block in BLOCKS if block.language == "markdown" and is_soul(block.text)]


@pytest.mark.parametrize("block", SOULS, ids=str)
def test_every_soul_that_is_shown_is_a_valid_one_on_a_backend_that_there_is(block: Block, tmp_path: Path) -> None:
    (tmp_path / "souls").mkdir()
    (tmp_path / "souls" / "shown.md").write_text(block.text)
    souls, problems = read_souls(tmp_path)
    assert problems == []
    configs = [parse_config(each.text.encode()) for each in blocks_of(block.page) if is_marked(each, "# orc.yaml")]
    assert souls["shown"].backend in {*BUILT_IN, *(name for config in configs for name in config.backends)}


def test_the_search_for_souls_finds_them() -> None:
    assert {block.page.name for block in SOULS} >= {"agents.md", "use-any-program.md"}


def test_the_souls_that_come_with_recipes_are_valid_ones() -> None:
    folders = {path.parent.parent for path in DOCS.rglob("souls/*.md")}
    assert len(folders) >= 4
    for folder in folders:
        souls, problems = read_souls(folder)
        assert problems == []
        assert {soul.backend for soul in souls.values()} <= set(read_config(folder).backends)


def test_the_recipe_shows_the_files_that_come_with_it() -> None:
    page = (HOW_TO / "claude-through-command.md").read_text(encoding="utf-8")
    for name in ("orc.yaml", "claude-reviewer"):
        assert (CLAUDE / name).read_text(encoding="utf-8") in page
    assert os.access(CLAUDE / "claude-reviewer", os.X_OK)


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        ("import os\n\nprint(os.name)\n", Verdict.APPROVED),
        ("import os\n", Verdict.REVISE),
        ("broken(\n", Verdict.REVISE),
    ],
)
def test_the_reviewer_in_20_lines_gives_verdicts_that_count(tmp_path: Path, source: str, verdict: Verdict) -> None:
    (block,) = [block for block in blocks_of(HOW_TO / "use-any-program.md") if block.language == "python"]
    assert len(block.text.splitlines()) <= 24
    (tmp_path / "changed.py").write_text(source)
    items = [{"id": "correct", "question": "Is it?", "required": True}]
    facts = {"nonce": "n0", "job": "j-00000000", "commit": "c0", "files": ["changed.py", "gone.py"], "items": items}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        [sys.executable, "-c", block.text],
        cwd=tmp_path,
        env={"PATH": path, "ORC_FACTS": str(tmp_path / "facts.json")},
        capture_output=True,
        text=True,
        check=True,
    )
    question = Question(
        "j-00000000", "c0", hash_nonce("n0"), frozenset({"changed.py", "gone.py"}), ("correct",),
        frozenset({"correct"}), 0.8,
    )  # fmt: skip
    judgement = judge_reply(ran.stdout, question)
    assert (judgement.verdict, judgement.why) == (verdict, "")


def shell(script: str, *, at: Path, env: dict[str, str], ok: bool = True) -> str:
    ran = subprocess.run(["sh", "-eu", "-c", script], cwd=at, env=env, capture_output=True, text=True, check=False)
    assert not ok or ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def readme_steps(heading: str) -> list[str]:
    """The lines of shell below a heading of the README, block by block."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [found["text"] for found in _FENCED.finditer(section) if found["language"] == "sh"]


@pytest.fixture
def person(tmp_path: Path) -> dict[str, str]:
    """The environment of a person who has installed orc and has a home, and a folder `bin` for more programs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "orc").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m orchestrator "$@"\n')
    (programs / "orc").chmod(0o755)
    (tmp_path / "home").mkdir()
    return {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT),
        "HOME": str(tmp_path / "home"),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }


@pytest.mark.timeout(180)
def test_the_pair_of_the_readme_is_ready_as_printed(tmp_path: Path, person: dict[str, str]) -> None:
    programs, workspace, check, job, decide = readme_steps("Claude Code writes, Codex judges")
    keys = dict(re.findall(r"^export (\w+)=(.+)$", programs, re.M))
    for name in ("claude", "codex"):  # The real ones are driven in tests/agents.
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\necho {name} 1.0\n")
        (tmp_path / "bin" / name).chmod(0o755)
    project = tmp_path / "home" / "src" / "my-project"
    project.mkdir(parents=True)
    shell("git init -q -b main; git commit -q --allow-empty -m first", at=project, env=person)
    shell(workspace, at=tmp_path, env=person)
    told = shell(check, at=project, env=person | keys)
    assert "agent engineer: claude, model " in told
    assert "agent critic: codex, model " in told
    assert "fail  " not in told
    hand_in, _, run = job.partition("\n")
    assert shell(hand_in, at=project, env=person).startswith("umlauts-")
    assert run.startswith("orc run --until-idle")
    assert "Log-in fails when the name holds an umlaut." in shell(decide.partition("\n")[0], at=project, env=person)


@pytest.mark.timeout(180)
def test_the_five_steps_of_the_readme_work_as_printed(tmp_path: Path, person: dict[str, str]) -> None:
    workspace, agents, job, decide, look_back = readme_steps("Your own repository, in five steps")
    env = person
    shell(workspace, at=tmp_path, env=env)
    shopping = tmp_path / "home" / "shopping"
    healthy = shell(agents, at=shopping, env=env)
    assert "agent tidy: sorter" in healthy
    asked = shell(job, at=shopping, env=env)
    (card,) = [path.name.removesuffix(".yaml") for path in (shopping / "queue/decide").glob("*.card-1.yaml")]
    assert f"orc approve {card.removesuffix('.card-1')}" in asked
    assert (shopping / "fruit.list").read_text() == "pear\napple\nquince\napple\n"
    # Without a terminal nobody can be asked, so the answer names the card; the rest is as printed.
    shell(decide.replace("orc approve sort-the-fruit", f"orc approve {card}"), at=shopping, env=env)
    assert (shopping / "fruit.list").read_text() == "apple\npear\nquince\n"
    told = shell(look_back, at=shopping, env=env)
    assert "Sort fruit.list and take the doubles out." in told
