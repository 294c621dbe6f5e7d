"""A project that is to be finished, from the keyboard: shown, approved, sent on, and never by an agent."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cli_world as w
import pytest
from jsonschema import Draft202012Validator

from orchestrator.adapters.schemas import load_schema
from orchestrator.errors import ExitCode

GOAL = "The world is greeted."
CARD = "main.finish-1"
SCHEMA = Draft202012Validator(dict(load_schema("cli")))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace of whose one project it is asked whether it is finished."""
    root = w.new_workspace(tmp_path_factory.mktemp("made") / "work", merge="auto")
    config = root / "orc.yaml"
    config.write_text(config.read_text().replace("    merge: auto\n", f"    merge: auto\n    goal: {GOAL}\n"))
    w.git(root, "commit", "--quiet", "--all", "-m", "what is to be reached")
    w.submit(root, "title: greet\nprompt: greet the world\n", name="greet")
    done = w.orc(root, "run", "--until-idle", code=0)
    assert "No job is left; main waits for your approval (orc status)." in done.out
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "work", symlinks=True))


def asked_json(root: Path, *args: str, code: int = 0) -> dict[str, Any]:
    """The one object that a command prints, which is what the schema says."""
    value = w.orc(root, *args, "--json", code=code).json()
    SCHEMA.validate(value)
    return value


def state(root: Path) -> str:
    return str(asked_json(root, "show", "main")["project"]["state"])


def test_status_begins_with_the_question_and_names_the_project(root: Path) -> None:
    told = w.orc(root, "status", code=0).out
    assert told.startswith(f"Needs you\n  {CARD}: Is main finished (1 done)? Its goal: {GOAL}\n")
    assert f"      orc approve {CARD}   (answers: done, more)\n" in told
    assert f"Projects\n  main  pending_approval  1 done  {GOAL}\n" in told
    value = asked_json(root, "status")
    [line], [need] = value["projects"], value["needs"]
    assert (line["state"], line["card"], line["done"]) == ("pending_approval", CARD, 1)
    assert (need["id"], need["waits"]["who"]) == (CARD, "")


def test_health_says_that_it_waits(root: Path) -> None:
    told = w.orc(root, "health", code=0).out
    assert "main waits for you since " in told
    assert "(pending_approval): orc show main" in told
    assert [each["state"] for each in asked_json(root, "health")["projects"]] == ["pending_approval"]
    assert "\norc_cards_waiting 1\n" in w.orc(root, "health", "--prometheus", code=0).out


def test_show_tells_what_it_has_come_to(root: Path) -> None:
    told = w.orc(root, "show", "main", code=0).out
    assert told.startswith("main  pending_approval  since ")
    for line in (f"  goal: {GOAL}", "  Delivered:", "  Open risks: none.", f"  {CARD}: open since "):
        assert line in told
    assert w.orc(root, "show", CARD, code=0).out == told
    value = asked_json(root, "show", "main")
    assert (value["project"]["done"], value["finish"]["id"]) == (1, CARD)


def test_a_job_of_that_name_goes_first(root: Path) -> None:
    id_ = w.submit(root, "title: main\nprompt: x\nhold: true\n", name="main")
    assert asked_json(root, "show", "main")["job"]["id"] == id_


def test_off_a_terminal_the_id_of_the_card_is_needed(root: Path) -> None:
    refused = w.orc(root, "approve", "main", code=ExitCode.REFUSED)
    assert f"the card's id is needed: {CARD}" in refused.err
    assert state(root) == "pending_approval"
    done = w.orc(root, "approve", CARD, code=0)
    assert "Is main finished? Its goal:" in done.out
    assert done.out.endswith("main is done now.\n")
    assert state(root) == "done"
    again = w.orc(root, "answer", CARD, "done", code=ExitCode.REFUSED)
    assert "answered already: done, by human:Ada Lovelace" in again.err
    assert f"{CARD}: done, by human:Ada Lovelace at " in w.orc(root, "show", "main", code=0).out


def test_on_a_terminal_it_is_shown_and_asked(root: Path) -> None:
    no = w.Terminal(root, "approve", "main")
    no.read_until("done? [y/N]:")
    assert "Delivered:" in no.shown
    no.type("n\n")
    assert no.end() == ExitCode.FAILED
    assert state(root) == "pending_approval"


def test_more_becomes_a_job(root: Path) -> None:
    value = asked_json(root, "answer", CARD, "done")
    assert value == {**value, "project": "main", "card": CARD, "answer": "done", "state": "done"}
    id_ = w.submit(root, "title: greet\nprompt: greet again\nhold: true\n", name="greet")
    assert state(root) == "open"
    w.orc(root, "cancel", id_, code=0)
    w.orc(root, "run", "--until-idle", "--quiet", code=0)
    assert "more of what?" in w.orc(root, "reject", "main", "-m", " ", code=ExitCode.REFUSED).err
    value = asked_json(root, "reject", "main", "-m", "Greet the moon.")
    assert (value["answer"], value["state"], value["card"]) == ("more", "open", "main.finish-2")
    job = asked_json(root, "show", value["job"])
    assert (job["spec"]["prompt"].strip(), job["job"]["source"]) == ("Greet the moon.", "main.finish-2")
    assert w.orc(root, "verify", code=0).out.startswith("The ledger holds: ")


def test_an_answer_that_it_does_not_offer_is_refused(root: Path) -> None:
    refused = w.orc(root, "answer", CARD, "drop", code=ExitCode.REFUSED)
    assert f"{CARD} has no answer 'drop'; it offers done, more" in refused.err
    assert w.orc(root, "answer", "main.finish-9", "done", code=ExitCode.NOT_FOUND)
    assert w.orc(root, "answer", "other.finish-1", "done", code=ExitCode.NOT_FOUND)


@pytest.mark.parametrize(
    "args",
    [("approve", CARD), ("answer", CARD, "done"), ("answer", CARD, "more", "-m", "x"), ("reject", "main", "-m", "x")],
)
def test_inside_a_run_there_is_no_such_verb(root: Path, args: tuple[str, ...]) -> None:
    before = w.git(root, "rev-parse", "orc/state")
    refused = w.orc(root, *args, env={"ORC_RUN": "greet-00000000.attempt-1"}, code=ExitCode.REFUSED)
    assert "is not possible inside a run" in refused.err
    assert w.git(root, "rev-parse", "orc/state") == before


def test_verify_names_an_end_that_no_person_declared(root: Path) -> None:
    """Somebody who can write the branch files it by hand, as the engine."""
    blob = w.git(root, "show", "orc/state:projects/main/goal.yaml").replace("pending_approval", "done")
    (root / "forged").write_text(f"{blob}\n")
    oid = w.git(root, "hash-object", "-w", "forged")
    env = {"GIT_INDEX_FILE": str(root / "index")}
    forge(root, env, oid)
    done = w.orc(root, "verify", code=ExitCode.FAILED)
    assert "says finish of main, but finish is not for the engine" in done.out


def forge(root: Path, env: dict[str, str], oid: str) -> None:
    """A commit on the ledger by plain git, which looks as the engine's do."""
    import subprocess

    engine = {f"GIT_{who}_{what}": text for who, name in (("AUTHOR", "engine"), ("COMMITTER", "orc"))
              for what, text in (("NAME", name), ("EMAIL", "engine@orc.invalid"))}  # fmt: skip
    message = "finish: main done (main.finish-1)\n\nProject: main\nWas: pending_approval\nNow: done\nActor: engine\n"

    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *args], env={**w.environment(), **engine, **env},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    git("read-tree", "orc/state")
    git("update-index", "--cacheinfo", f"100644,{oid},projects/main/goal.yaml")
    commit = git("commit-tree", git("write-tree"), "-p", "orc/state", "-m", message.strip())
    git("update-ref", "refs/heads/orc/state", commit)


def test_the_tab_key_offers_the_question_and_its_answers(root: Path) -> None:
    def offered(line: str) -> list[str]:
        words = str(len(line.split(" ")) - 1)
        env = {"_ORC_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": words}
        return [each.removeprefix("plain,") for each in w.orc(root, env=env, code=0).out.splitlines() if each]

    assert offered("orc approve ma") == offered("orc answer ") == [CARD]
    assert offered(f"orc answer {CARD} ") == ["done", "more"]
    w.orc(root, "approve", CARD, code=0)
    assert offered("orc approve ") == []
