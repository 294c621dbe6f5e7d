"""What a person decides from the keyboard: approve, reject, answer, retry, cancel, revert."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cli_world as w
import pytest

from orchestrator.errors import ExitCode


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three workspaces to copy: nothing done yet, a card open, and its work merged into a clean checkout."""
    folder = tmp_path_factory.mktemp("played")
    root = w.new_workspace(folder / "new")
    shutil.copytree(root, folder / "asked", symlinks=True)
    id_ = w.asked(folder / "asked")
    shutil.copytree(folder / "asked", folder / "merged", symlinks=True)
    w.orc(folder / "merged", "approve", f"{id_}.card-1", code=0)
    w.orc(folder / "merged", "run", "--until-idle", "--quiet", code=0)
    assert (folder / "merged" / "hello.py").read_text() == "print('hello')\n"
    return folder


@pytest.fixture
def root(played: Path, tmp_path: Path) -> Path:
    """A workspace without a job."""
    return Path(shutil.copytree(played / "new", tmp_path / "work", symlinks=True))


@pytest.fixture
def asking(played: Path, tmp_path: Path) -> Path:
    """A workspace with one job, which asks whether to merge its work."""
    return Path(shutil.copytree(played / "asked", tmp_path / "work", symlinks=True))


@pytest.fixture
def merged(played: Path, tmp_path: Path) -> Path:
    """A workspace with one job, which is merged into main; main is checked out and clean."""
    root = Path(shutil.copytree(played / "merged", tmp_path / "work", symlinks=True))
    w.git(root, "update-index", "-q", "--refresh")
    return root


def id_of(root: Path) -> str:
    """The one job."""
    return str(w.orc(root, "show", "greet", "--json", code=0).json()["job"]["id"])


def state_of(root: Path, job: str) -> str:
    """Where a job stands."""
    return str(w.orc(root, "show", job, "--json", code=0).json()["job"]["state"])


def test_off_a_terminal_approve_needs_the_id_of_the_card(asking: Path) -> None:
    id_ = id_of(asking)
    refused = w.orc(asking, "approve", id_, code=ExitCode.REFUSED)
    assert f"the card's id is needed: {id_}.card-1" in refused.err
    assert state_of(asking, id_) == "decide"
    done = w.orc(asking, "approve", f"{id_}.card-1", code=0)
    assert "1 file changed, 1 insertion(+)" in done.out
    assert "hello.py" in done.out
    assert state_of(asking, id_) == "merging"
    again = w.orc(asking, "approve", f"{id_}.card-1", code=ExitCode.REFUSED)
    assert "answered already: approve, by human:Ada Lovelace" in again.err


def test_on_a_terminal_approve_shows_the_work_and_asks(asking: Path) -> None:
    id_ = id_of(asking)
    no = w.Terminal(asking, "approve", "greet")
    no.read_until("approve? [y/N]:")
    assert "A hello.py (+1 -0)" in no.shown
    assert "commit " in no.shown
    no.type("n\n")
    assert no.end() == ExitCode.FAILED
    assert "Nothing was changed." in no.shown
    assert state_of(asking, id_) == "decide"
    yes = w.Terminal(asking, "approve", f"{id_}.card-1")
    yes.read_until("approve? [y/N]:")
    yes.type("y\n")
    assert yes.end() == 0
    assert state_of(asking, id_) == "merging"


def test_ctrl_c_at_the_question_changes_nothing(asking: Path) -> None:
    id_ = id_of(asking)
    terminal = w.Terminal(asking, "approve", "greet")
    terminal.read_until("approve? [y/N]:")
    terminal.interrupt()
    assert terminal.end() == ExitCode.INTERRUPTED
    assert state_of(asking, id_) == "decide"


def test_a_rejection_becomes_numbered_fixes(asking: Path) -> None:
    id_ = id_of(asking)
    done = w.orc(asking, "reject", "greet", "-m", "- Say it louder.\n- Say it twice.", code=0)
    assert "a person asks for 2 changes" in done.out
    fixes = w.orc(asking, "show", id_, "--json").json()["job"]["fixes"]
    assert [(fix["id"], fix["problem"], fix["source"]) for fix in fixes] == [
        ("F1", "Say it louder.", "human"),
        ("F2", "Say it twice.", "human"),
    ]


def test_a_rejection_without_words_is_refused(asking: Path) -> None:
    assert w.orc(asking, "reject", "greet").code == ExitCode.USAGE
    assert "needs words" in w.orc(asking, "reject", "greet", "-m", "  ", code=ExitCode.REFUSED).err


def test_a_wrong_key_is_told_which_there_are(asking: Path) -> None:
    id_ = id_of(asking)
    done = w.orc(asking, "answer", f"{id_}.card-1", "yes", code=ExitCode.REFUSED)
    assert "has no answer 'yes'; it offers approve, revise, drop" in done.err
    terminal = w.Terminal(asking, "answer", "greet", "yes")
    assert terminal.end() == ExitCode.REFUSED
    assert "it offers approve, revise, drop" in terminal.shown


def test_what_is_no_card_is_not_answered(root: Path) -> None:
    id_ = w.submit(root, "prompt: greet\n", name="greet")
    assert "asks nothing: it is ready" in w.orc(root, "answer", id_, "drop", code=ExitCode.REFUSED).err
    assert "not the id of a card" in w.orc(root, "answer", f"{id_}.attempt-1", "drop", code=ExitCode.NOT_FOUND).err
    assert w.orc(root, "answer", f"{id_}.card-7", "drop").code == ExitCode.NOT_FOUND


def test_a_job_is_cancelled_and_given_another_go_by_its_name(root: Path) -> None:
    id_ = w.submit(root, "prompt: greet\n", name="greet")
    assert "greet" in w.orc(root, "cancel", "greet", "-m", "not now", code=0).out
    assert state_of(root, id_) == "cancelled"
    assert "is cancelled already" in w.orc(root, "cancel", id_, code=ExitCode.REFUSED).err
    assert w.orc(root, "retry", "greet", "--json", code=0).json()["state"] == "ready"
    assert "cannot be retried: it is ready" in w.orc(root, "retry", "greet", code=ExitCode.REFUSED).err


def test_a_name_that_may_mean_several_is_refused(root: Path) -> None:
    first = w.submit(root, "prompt: greet\n", name="greet")
    second = w.submit(root, "prompt: greet\nagain: true\n", name="greet")
    done = w.orc(root, "cancel", "greet", code=ExitCode.NOT_FOUND)
    assert first in done.err
    assert second in done.err
    assert w.orc(root, "cancel", "", code=ExitCode.NOT_FOUND).out == ""


def test_the_exact_name_wins_over_a_longer_one(root: Path) -> None:
    exact = w.submit(root, "prompt: greet\n", name="greet")
    w.submit(root, "prompt: greet\nagain: true\n", name="greet-again")
    assert w.orc(root, "cancel", "greet", "--json", code=0).json()["job"] == exact


def test_a_revert_updates_a_clean_checkout_and_is_on_the_ledger(merged: Path) -> None:
    id_ = id_of(merged)
    done = w.orc(merged, "revert", "greet", "--json", code=0).json()
    assert done["job"] == id_
    assert w.git(merged, "rev-parse", "main") == done["commit"]
    assert not (merged / "hello.py").exists()
    assert w.git(merged, "status", "--porcelain") == ""
    assert f"revert: {id_} on main" in w.orc(merged, "log", "-n", "1").out
    assert "nothing of" in w.orc(merged, "revert", "greet", code=ExitCode.REFUSED).err
    w.orc(merged, "verify", code=0)


def test_a_revert_is_refused_where_later_work_touches_the_same_lines(merged: Path) -> None:
    (merged / "hello.py").write_text("print('good day')\n")
    w.git(merged, "commit", "--quiet", "--all", "-m", "politer")
    tip = w.git(merged, "rev-parse", "main")
    done = w.orc(merged, "revert", "greet", code=ExitCode.REFUSED)
    assert "later work touches the same lines in hello.py" in done.err
    assert w.git(merged, "rev-parse", "main") == tip


def test_a_revert_is_refused_where_a_persons_change_is_in_the_way(merged: Path) -> None:
    (merged / "hello.py").write_text("mine\n")
    tip = w.git(merged, "rev-parse", "main")
    assert "hello.py" in w.orc(merged, "revert", "greet", code=ExitCode.REFUSED).err
    assert (merged / "hello.py").read_text() == "mine\n"
    assert w.git(merged, "rev-parse", "main") == tip


def test_only_merged_work_is_reverted(root: Path) -> None:
    w.submit(root, "prompt: greet\n", name="greet")
    assert "was not merged by orc: it is ready" in w.orc(root, "revert", "greet", code=ExitCode.REFUSED).err


# --- an agent's question ---

QUESTION = {
    "protocol": 1,
    "kind": "ask",
    "text": "Which page is meant?",
    "context": "[approve] Merge it: It is merged.",
    "options": ["/login", {"key": "both", "label": "Both pages", "consequence": "Twice the tests."}],
    "default": "both",
    "expires_h": 48,
}
ASKS = """\
- match: {{kind: attempt, attempt: 1}}
  run: cp {question} "$ORC_RUN_DIR/outbox/1.json"
- match: {{kind: attempt}}
  write: {{hello.py: "print('hello')\\n"}}
- match: {{kind: review}}
  verdict: APPROVED
"""


def test_an_answer_of_an_agents_own_is_shown_and_given_by_its_key(tmp_path: Path) -> None:
    question = tmp_path / "question.json"
    question.write_text(json.dumps(QUESTION))
    root = w.new_workspace(tmp_path / "work", ASKS.format(question=question))
    id_ = w.submit(root, "title: greet\nprompt: greet\n", name="greet")
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    next_ = w.submit(root, f"prompt: next\nneeds: [{id_}]\n", name="next")
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    status = w.orc(root, "status", code=0).out
    assert f"1 job waits for it: {next_}" in status
    assert "if nobody answers by 20" in status
    (need,) = w.orc(root, "status", "--json", code=0).json()["needs"]
    assert (need["blocks"], need["default"], need["answers"]) == ([next_], "both", ["a", "both", "reply", "drop"])
    shown = w.orc(root, "show", id_, code=0).out
    assert "both: Both pages. The author goes on with this answer. Twice the tests." in shown
    assert f"1 job waits for it: {next_}" in shown
    card = f"{id_}.card-1"
    refused = w.orc(root, "answer", card, "approve", code=ExitCode.REFUSED)
    assert "it offers a, both, reply, drop" in refused.err
    told = w.orc(root, "answer", card, "both", code=0).out
    assert "  [both] Both pages: The author goes on with this answer. Twice the tests.\n" in told
    assert "\n  | [approve] Merge it: It is merged.\n" in told, "what an agent says looks like no answer"
    assert state_of(root, id_) == "ready"
    assert "both, by human:" in w.orc(root, "show", id_, code=0).out
