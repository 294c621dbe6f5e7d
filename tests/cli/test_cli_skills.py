"""`orc skills`, with real jobs of a real engine: versions, what came of them, and how they differ; and the lint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cli_world as w
import pytest

from orchestrator.adapters.library import blob_id
from orchestrator.cli.skills import _outputs
from orchestrator.engine.history import Told
from orchestrator.engine.outcomes import ENOUGH, NOT_MEASURED
from orchestrator.engine.skill_log import OUTPUTS, _version, count_skill
from orchestrator.engine.skills import find_pinned
from orchestrator.engine.workspace import Workspace, open_workspace
from orchestrator.errors import ExitCode, NotFoundError

OLD = "---\nname: greeting\ndescription: How to greet.\nmetadata: {trigger: greet}\n---\nSay hello.\n"
NEW = OLD.replace("Say hello.", "Say hello to everybody.")
SOUL = "---\nbackend: anthropic\nmodel: m\n---\n"
A, B = "a" * 40, "b" * 40


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A workspace in which one job used the old version of a skill and another the new one."""
    root = w.new_workspace(tmp_path_factory.mktemp("skills") / "work")
    ids = []
    for text in (OLD, NEW):
        write(root, "skills/greeting/SKILL.md", text)
        ids.append(
            w.submit(root, "title: greet\nprompt: greet the world\nskills: [greeting]\nagain: true\n", name="greet")
        )
        w.orc(root, "run", "--until-idle", "--quiet", code=1)
    return root, ids[0], ids[1]


@contextmanager
def workspace(root: Path) -> Iterator[Workspace]:
    with open_workspace(root, lean=True) as ws:
        yield ws


def blob(text: str) -> str:
    return blob_id(text.encode())


def json_of(root: Path, *args: str, code: int = 0) -> dict[str, Any]:
    return w.orc(root, "skills", *args, "--json", code=code).json()


# --- list and show ---


def test_the_list_says_what_each_skill_is_and_who_brings_it(made: tuple[Path, str, str]) -> None:
    root = made[0]
    soul = (root / "souls/worker.md").read_text()
    (root / "souls/worker.md").write_text(soul.replace("roles:", "skills: [greeting]\nroles:"))
    (each,) = [each for each in json_of(root, "list")["skills"] if each["name"] == "greeting"]
    (root / "souls/worker.md").write_text(soul)
    assert each == {
        "name": "greeting", "description": "How to greet.", "trigger": "greet", "blob": blob(NEW),
        "tokens": 6, "agents": ["worker"], "problems": [],
    }  # fmt: skip


def test_a_table_in_a_pipe_is_plain_and_on_a_terminal_fits(made: tuple[Path, str, str]) -> None:
    plain = w.orc(made[0], "skills", "list", code=0).out
    assert plain.splitlines()[0].split() == ["NAME", "TOKENS", "USED", "BY", "TRIGGER", "DESCRIPTION"]
    assert "\x1b" not in plain
    terminal = w.Terminal(made[0], "skills", "list", env={"COLUMNS": "60"})
    assert terminal.end() == 0
    assert "greeting" in terminal.shown


def test_broken_skills_and_slow_triggers_are_told_and_hide_nothing(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    write(root, "skills/slow/SKILL.md", OLD.replace("greeting", "slow").replace("greet}", "'(a+)+$'}"))
    write(root, "skills/broken/SKILL.md", "nothing\n")
    write(root, "skills/long/SKILL.md", OLD.replace("greeting", "long") + "x" * 24_001)
    (root / "souls/worker.md").write_text(w.WORKER.replace("roles:", "skills: [absent]\nroles:"))
    shown = w.orc(root, "skills", "list", code=0).out
    assert "! slow: its trigger takes longer than 100 ms" in shown
    assert "! long: its 6003 tokens never fit whole" in shown
    assert "! skills/broken/SKILL.md:1: must begin with front matter" in shown
    assert "! souls/worker.md: skill 'absent' has no usable file" in shown
    found = w.orc(root, "doctor", "--json", code=1).json()["findings"]
    warned = {each["what"] for each in found if each["health"] == "warn"}
    assert {"skill slow", "skill long", "skills"} <= warned


def test_a_version_is_shown_by_the_beginning_of_its_blob_id(made: tuple[Path, str, str]) -> None:
    root = made[0]
    assert "Say hello to everybody." in w.orc(root, "skills", "show", "greeting", code=0).out
    shown = json_of(root, "show", f"greeting@{blob(OLD)[:8]}")
    assert (shown["blob"], shown["body"].strip()) == (blob(OLD), "Say hello.")


@pytest.mark.parametrize("asked", ["nothing", "greeting@", "greeting@1234567", "greeting@00000000", "../x@00000000"])
def test_what_does_not_exist_is_said_so(made: tuple[Path, str, str], asked: str) -> None:
    error = w.orc(made[0], "skills", "show", asked, "--json", code=int(ExitCode.NOT_FOUND)).json()["error"]
    assert error["hint"]
    if asked.startswith("greeting"):
        assert blob(OLD)[:12] in error["message"]
        assert blob(NEW)[:12] in error["message"]


def test_the_log_of_a_skill_that_there_is_not_names_the_nearest(made: tuple[Path, str, str]) -> None:
    done = w.orc(made[0], "skills", "log", "greting", code=int(ExitCode.NOT_FOUND))
    assert "did you mean 'greeting'?" in done.err


# --- pinned versions ---


def test_a_version_that_was_only_committed_by_the_person_is_found(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    write(root, "skills/greeting/SKILL.md", OLD)
    w.git(root, "add", "-A")
    w.git(root, "commit", "--quiet", "-m", "a skill")
    w.git(root, "rm", "-r", "--quiet", "skills/greeting")
    with workspace(root) as ws:
        assert find_pinned(ws, "greeting", blob(OLD)[:8]).body == "Say hello."


def test_only_a_blob_that_is_that_skill_counts(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    write(root, "other.md", OLD.replace("name: greeting", "name: other"))
    other = w.git(root, "hash-object", "-w", "other.md")
    readme = w.git(root, "rev-parse", "HEAD:README.md")
    head = w.git(root, "rev-parse", "HEAD")
    write(root, "spare.md", OLD)
    w.git(root, "tag", "feedbeef", w.git(root, "hash-object", "-w", "spare.md"))
    with workspace(root) as ws:
        for asked in (other, readme, head, "feedbeef"):
            with pytest.raises(NotFoundError):
                find_pinned(ws, "greeting", asked)
        assert find_pinned(ws, "other", other[:10]).name == "other"


def test_the_first_version_is_known_long_after(made: tuple[Path, str, str]) -> None:
    with workspace(made[0]) as ws:
        assert find_pinned(ws, "greeting", blob(OLD)[:8]).body == "Say hello."
        with pytest.raises(NotFoundError) as caught:
            find_pinned(ws, "greeting", "0" * 40)
    assert f"known: {blob(NEW)[:12]}, {blob(OLD)[:12]}" in caught.value.message


# --- log ---


def test_the_log_has_each_version_and_what_came_of_it(made: tuple[Path, str, str]) -> None:
    found = json_of(made[0], "log", "greeting")
    old, new = found["versions"]
    assert [old["blob"], new["blob"]] == [blob(OLD), blob(NEW)]
    assert [old["is_current"], new["is_current"]] == [False, True]
    for each in (old, new):
        assert (each["runs"], each["first"]) == (1, each["last"])
        assert each["first_pass"] == {"value": 1.0, "n": 1, "enough": False}
        assert each["score"]["n"] == 1
    shown = w.orc(made[0], "skills", "log", "greeting", code=0).out
    assert shown.count("too few to tell") == 2
    assert f"{blob(NEW)[:12]}*" in shown


def test_the_log_of_a_version_names_the_attempts_that_used_it(made: tuple[Path, str, str]) -> None:
    root, first, second = made
    versions = json_of(root, "log", "greeting")["versions"]
    assert [each["outputs"] for each in versions] == [[f"{first}.attempt-1"], [f"{second}.attempt-1"]]
    (only,) = json_of(root, "log", f"greeting@{blob(OLD)[:8]}")["versions"]
    assert only == versions[0]
    shown = w.orc(root, "skills", "log", f"greeting@{blob(OLD)[:8]}", code=0).out
    assert f"  {first}.attempt-1\n" in shown
    assert second not in shown
    assert second not in w.orc(root, "skills", "log", "greeting", code=0).out


@pytest.mark.parametrize("asked", ["greeting@", "greeting@1234567", "greeting@00000000"])
def test_the_log_of_a_version_that_nobody_knows_names_the_known_ones(made: tuple[Path, str, str], asked: str) -> None:
    error = w.orc(made[0], "skills", "log", asked, "--json", code=int(ExitCode.NOT_FOUND)).json()["error"]
    assert f"(known: {blob(OLD)[:12]}, {blob(NEW)[:12]})" in error["message"]


def test_a_version_names_its_newest_attempts_only(made: tuple[Path, str, str]) -> None:
    tally = count_skill((start(number, A) for number in range(1, OUTPUTS + 3)), "tidy")[A]
    with workspace(made[0]) as ws:
        version = _version(ws, A, tally, NOT_MEASURED, is_current=False)
    assert (version.runs, len(version.outputs)) == (OUTPUTS + 2, OUTPUTS)
    assert version.outputs[0] == f"j.attempt-{OUTPUTS + 2}"
    assert list(_outputs(version))[-1] == "  … and 2 before"


def test_a_skill_that_was_never_used_has_one_version(made: tuple[Path, str, str]) -> None:
    write(made[0], "skills/unused/SKILL.md", OLD.replace("name: greeting", "name: unused"))
    (only,) = json_of(made[0], "log", "unused")["versions"]
    assert (only["runs"], only["score"]) == (0, {"value": None, "n": 0, "enough": False})
    w.orc(made[0], "skills", "log", "nothing", code=int(ExitCode.NOT_FOUND))


def step(subject: str, job: str = "j", **facts: str) -> Told:
    return Told("c", "2026-01-01T00:00:00Z", "engine", f"{subject}: x", {"Job": job, **facts})


def start(number: int, version: str, job: str = "j") -> Told:
    return step("start", job, Attempt=str(number), Skills=f"skills/x/SKILL.md@{A} skills/tidy/SKILL.md@{version}")


@pytest.mark.parametrize(
    ("steps", "passes"),
    [
        ([start(1, A), step("verdict", Verdict="APPROVED", Score="0.9")], {A: [1.0]}),
        (
            [start(1, A), step("verdict", Verdict="REVISE"), start(2, A), step("verdict", Verdict="APPROVED")],
            {A: [0.0]},
        ),
        ([start(1, A), step("evidence", From="collected", To="ready"), start(2, B)], {A: [0.0], B: []}),
        ([start(1, A), step("checked", From="checking", To="ready")], {A: [0.0]}),
        ([start(1, A), step("checked", From="merging", To="ready")], {A: []}),
        ([start(1, A), step("lost"), start(2, B), step("verdict", Verdict="APPROVED")], {A: [], B: [1.0]}),
        ([start(1, A), step("verdict", Verdict="INCONCLUSIVE"), step("verdict", Verdict="APPROVED")], {A: [1.0]}),
        ([start(3, A), step("verdict", Verdict="APPROVED")], {A: []}),
        ([start(1, A), step("verdict", "k", Verdict="APPROVED")], {A: []}),
    ],
)
def test_the_first_outcome_counts_for_the_version_that_the_work_was_made_with(
    steps: list[Told], passes: dict[str, list[float]]
) -> None:
    assert {version: tally.passes for version, tally in count_skill(steps, "tidy").items()} == passes


def test_scores_and_runs_are_counted_for_each_version() -> None:
    steps = []
    for at in range(ENOUGH):
        job = f"j{at}"
        steps += [start(1, A if at % 2 else B, job), step("verdict", job, Verdict="APPROVED", Score=str(at % 2))]
    found = count_skill(steps, "tidy")
    assert found[A].scores == [1.0] * 10
    assert found[B].scores == [0.0] * 10
    assert len(found[A].attempts) == 10
    assert count_skill(steps, "unknown") == {}
    assert count_skill([step("start", Attempt="1", Skills="@ skills/tidy/SKILL.md nonsense")], "tidy") == {}


# --- diff ---


def test_versions_and_runs_are_compared(made: tuple[Path, str, str]) -> None:
    root, one, other = made
    versions = w.orc(root, "skills", "diff", "greeting", blob(OLD)[:8], blob(NEW), code=0).out
    assert "-Say hello.\n+Say hello to everybody." in versions
    assert w.orc(root, "skills", "diff", f"{one}.attempt-1", other, code=0).out == versions
    told = json_of(root, "diff", one, other)
    assert told["skills"] == [{"name": "greeting", "old": blob(OLD), "new": blob(NEW)}]
    assert (told["old"], told["new"]) == (f"{one}.attempt-1", f"{other}.attempt-1")
    assert "Nothing differs" in w.orc(root, "skills", "diff", one, one, code=0).out


def test_a_diff_of_nothing_that_exists_says_what_to_give(made: tuple[Path, str, str]) -> None:
    root, one, _ = made
    assert "give NAME BLOB BLOB, or RUN RUN." in w.orc(root, "skills", "diff", "greeting", code=int(ExitCode.USAGE)).err
    for wrong, told in {
        f"{one}.review-1": "a run is JOB.attempt-1",
        "": "a run is JOB.attempt-1",
        f"{one}.attempt-7": "attempt-7",
        "nobody": "'nobody'",
    }.items():
        assert told in w.orc(root, "skills", "diff", one, wrong, code=int(ExitCode.NOT_FOUND)).err


# --- souls ---


def test_doctor_warns_of_souls_without_sections_and_of_voices_that_are_alike(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    voice = "## Values\nCare.\n## Voice\nLow and slow.\n## Boundaries\nNone crossed.\n"
    write(root, "souls/ada.md", SOUL + voice)
    write(root, "souls/ben.md", SOUL + voice)
    write(root, "souls/cleo.md", SOUL + "You are kind.\n")
    found = w.orc(root, "doctor", "--json").json()["findings"]
    warned = {each["what"]: each["text"] for each in found if each["health"] == "warn"}
    assert warned["voices"] == "ada and ben sound alike: 100% of what their voices say is in both"
    assert warned["soul cleo"] == "has no section Values, Voice and Boundaries"
    assert not {"soul ada", "soul worker", "soul critic"} & warned.keys()


def test_names_of_skills_are_completed(made: tuple[Path, str, str]) -> None:
    env = {"_ORC_COMPLETE": "bash_complete", "COMP_WORDS": "orc skills log gre", "COMP_CWORD": "3"}
    assert w.orc(made[0], env=env, code=0).out.split() == ["plain,greeting"]


def test_a_job_gets_the_version_that_it_pins(made: tuple[Path, str, str]) -> None:
    root = made[0]
    pinned = f"title: greet\nprompt: greet again\nskills: [greeting@{blob(OLD)[:8]}]\n"
    job = w.submit(root, pinned, name="again")
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    used = json_of(root, "diff", job, made[1])["skills"]
    assert {"name": "greeting", "old": blob(OLD), "new": blob(OLD)} in used
