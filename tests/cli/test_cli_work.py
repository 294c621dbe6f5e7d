"""Handing work in, watching it, looking at what came of it: new, submit, run, status, show, diff, log, logs, doctor."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import cli_world as w
import pytest

from orchestrator.errors import ExitCode

ESCAPES = "\\033[31mred \\033]8;;http://x\\033\\\\link\\033]8;;\\033\\\\ [link=http://x]markup[/link] [/foo]"
PLAYS = f"""\
- match: {{kind: attempt, title: crash}}
  run: |
    printf '{ESCAPES}\\nno key was given\\n' >&2
    exit 3
- match: {{kind: attempt, title: hostile}}
  run: |
    printf '{ESCAPES}\\n'
    printf '{ESCAPES}\\n' > hello.py
- match: {{kind: attempt, title: slow}}
  run: |
    echo first line
    until test -e GO_FILE; do sleep 0.05; done
    echo last line
    echo 1 > hello.py
- match: {{kind: attempt}}
  write: {{hello.py: "print('hello')\\n"}}
- match: {{kind: review}}
  verdict: APPROVED
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace whose agents crash, are hostile, are slow, or do their work."""
    return w.new_workspace(tmp_path / "work", PLAYS.replace("GO_FILE", str(tmp_path / "go")))


def test_the_template_is_a_job_once_its_prompt_is_written(root: Path, tmp_path: Path) -> None:
    text = w.orc(tmp_path, "new", code=0).out
    job = root / "first.yaml"
    job.write_text(text)
    assert w.orc(root, "submit", "first.yaml").code == ExitCode.INVALID_FILE
    job.write_text(text.replace("prompt: |\n", "prompt: |\n  Greet the world.\n", 1))
    assert w.orc(root, "submit", "first.yaml", code=0).out.startswith("first-")
    said = w.orc(root, "new", "Greet: the # world", code=0).out
    assert w.orc(root, "submit", "-", "--name", "said", stdin=said, code=0).out.startswith("said-")


def test_a_job_of_a_kind_of_ones_own_can_be_begun_and_a_slip_is_told(root: Path, tmp_path: Path) -> None:
    (root / "criteria").mkdir()
    (root / "criteria/poem.yaml").write_text("items:\n  - {id: rhymes, question: Does it rhyme?}\n")
    own = w.orc(root, "new", "--kind", "poem", "Write a poem.", code=0)
    assert ("\nkind: poem\n" in own.out, own.err) == (True, "")
    assert w.orc(root, "submit", "-", "--name", "ode", stdin=own.out, code=0).out.startswith("ode-")
    slip = w.orc(root, "new", "--kind", "poems", code=ExitCode.NOT_FOUND)
    assert "did you mean 'poem'?" in slip.err
    assert "kinds here: code, ops, other, research, writing, poem" in slip.err
    new = w.orc(root, "new", "--kind", "zzz", "Do it.", code=0)
    assert ("\nkind: zzz\n" in new.out, "judged by the strictest" in new.err) == (True, True)
    assert "is no name for a kind" in w.orc(root, "new", "--kind", "Zz Top", code=ExitCode.USAGE).err
    outside = w.orc(tmp_path, "new", "--kind", "writng", code=ExitCode.NOT_FOUND)
    assert "did you mean 'writing'?" in outside.err


def test_submit_prints_the_id_and_nothing_else(root: Path) -> None:
    done = w.orc(root, "submit", "-", stdin="prompt: greet\n", code=0)
    assert done.err == ""
    assert done.out.strip() in w.orc(root, "show", done.out.strip(), code=0).out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prompt: x\npriority: P9\n", ":2: priority"),
        ("title: x\npromt: y\n", "did you mean `prompt`?"),
        ("prompt: [x\n", ":1: "),
        ("prompt: x\nprompt: y\n", ":2: "),
        ("", "is empty"),
    ],
)
def test_a_bad_file_is_refused_with_its_line_and_key(root: Path, text: str, told: str) -> None:
    (root / "bad.yaml").write_text(text)
    done = w.orc(root, "submit", "bad.yaml", code=ExitCode.INVALID_FILE)
    assert done.err.startswith("error: bad.yaml:")
    assert told in done.err
    assert w.orc(root, "status", "--json").json()["jobs"] == []


def test_what_is_no_file_is_refused(root: Path) -> None:
    assert w.orc(root, "submit", "missing.yaml").code == ExitCode.NOT_FOUND
    assert w.orc(root, "submit", "souls").code == ExitCode.INVALID_FILE
    assert w.orc(root, "submit", "/dev/zero").code == ExitCode.INVALID_FILE


def test_a_file_that_may_not_be_read_is_told_with_the_command_that_changes_it() -> None:
    as_nobody = "os.setgroups([]); os.setgid(65534); os.setuid(65534)" if os.geteuid() == 0 else "pass"
    # What it needs is loaded before: not everybody may read the interpreter's own files.
    loaded = (
        "import os, sys, orchestrator.cli.submit, orchestrator.engine.accept; from orchestrator.__main__ import main"
    )
    code = f"{loaded}; {as_nobody}; sys.argv[0] = 'orc'; main()"
    with tempfile.TemporaryDirectory() as made:  # Not below `tmp_path`, which only its owner may enter.
        file = Path(made) / "job.yaml"
        file.write_text("prompt: greet\n")
        os.chmod(made, 0o755)
        file.chmod(0)
        argv = [sys.executable, "-c", code, "submit", str(file)]
        done = subprocess.run(argv, cwd=made, env=w.environment(), capture_output=True, text=True, timeout=50)
    assert done.returncode == ExitCode.INVALID_FILE, done.stderr
    assert f"{file}: may not be read by you" in done.stderr
    assert f"chmod u+r {file}" in done.stderr


def test_show_shows_the_work_itself_and_not_only_where_it_lies(tmp_path: Path) -> None:
    text = r"# Forms\n\n- One form\n    - indented \033[2J\n"
    png = r"\211PNG\r\n\032\n\000\000\000\rIHDR\000\000\002\200\000\000\001\340"
    plays = [
        {"match": {"kind": "attempt"}, "run": f"printf '{text}' > forms.md; printf '{png}' > chart.png"},
        {"match": {"kind": "review"}, "verdict": "APPROVED"},
    ]
    root = w.new_workspace(tmp_path / "work", json.dumps(plays))
    id_ = w.submit(root, "prompt: describe\nkind: writing\ndeliverables: ['forms.md', '*.png']\n")
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    shown = w.orc(root, "show", id_, code=0).out
    assert "forms.md: text, 4 lines\n" in shown
    assert "| # Forms\n" in shown
    assert "|     - indented" in shown
    assert "chart.png: PNG image, 640 x 480, 24 bytes\n" in shown
    (command,) = [line.partition(": ")[2] for line in shown.splitlines() if "to look at it: " in line]
    get, _, _ = command.partition(" > ")
    found = subprocess.run(shlex.split(get), cwd=root, capture_output=True, check=True)
    assert found.stdout.startswith(b"\x89PNG")


def test_the_agents_last_error_line_stands_in_status_and_show(root: Path) -> None:
    id_ = w.asked(root, "crash")
    for words in (w.orc(root, "status").out, w.orc(root, "show", id_).out):
        assert "the shell ended with 3" in words
        assert "\x1b" not in words
    assert "no key was given" in w.orc(root, "logs", "crash").out


def test_hostile_text_comes_out_inert(root: Path) -> None:
    title = "hostile [link=http://x]me[/link] [/foo] :boom:"
    w.submit(root, f'title: "{title}"\nprompt: do it\n', name="hostile")
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    for verb in ("status", "show hostile", "diff hostile", "logs hostile.attempt-1", "log", "approve hostile"):
        piped = w.orc(root, *verb.split())
        assert "\x1b" not in piped.out + piped.err
    assert title in w.orc(root, "show", "hostile").out
    assert "[/foo]" in w.orc(root, "diff", "hostile").out
    shown = w.Terminal(root, "--no-color", "diff", "hostile")
    shown.end()
    assert "\x1b" not in shown.shown
    w.orc(root, "cancel", "hostile", "-m", "x")
    board = w.Terminal(root, "--no-color", "status")
    board.end()
    assert "\x1b]8" not in board.shown


def test_status_begins_with_what_needs_the_person(root: Path) -> None:
    id_ = w.asked(root)
    (root / "queue" / "inbox" / "bad.yaml").write_text("promt: x\n")
    w.submit(root, "prompt: wait\nagent: nobody\n", name="held")
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    out = w.orc(root, "status", code=0).out
    assert out.startswith("Needs you\n")
    assert f"orc approve {id_}.card-1" in out
    needs = w.orc(root, "status", "--json").json()["needs"]
    assert [need["id"].partition("-")[0] for need in needs] == ["greet", "held.held", "rejected/bad.yaml"]
    assert "agent 'nobody' has no file in souls/" in needs[1]["what"]
    assert "prompt" in needs[2]["what"]


def test_status_hides_no_file_that_nobody_takes_in(root: Path) -> None:
    queue = root / "queue"
    for number in range(22):
        (queue / "rejected" / f"bad-{number:02}.yaml").write_text("promt: x\n")
        (queue / "rejected" / f"bad-{number:02}.yaml.why.txt").write_text("line 1: no\n")
    for name in ("urgnt/lost.yaml", "inbox/later/lost.md", "notes/plan.txt", ".idea/x.yaml", "~old/x.yaml"):
        (queue / name).parent.mkdir(exist_ok=True)
        (queue / name).write_text("prompt: x\n")
    needs = w.orc(root, "status", "--json", code=0).json()["needs"]
    assert [need["id"] for need in needs[19:]] == [
        "rejected/bad-19.yaml",
        "rejected/",
        "queue/inbox/later",
        "queue/urgnt",
    ]
    assert needs[20]["what"] == "2 more could not be accepted"
    assert "no folder of the queue" in needs[22]["what"]


def test_status_tells_what_ended_lately(root: Path) -> None:
    id_ = w.submit(root, "prompt: greet\n", name="greet")
    w.orc(root, "cancel", id_)
    ended = w.orc(root, "status", "--json").json()["ended"]
    assert [(each["job"], each["state"]) for each in ended] == [(id_, "cancelled")]
    w.orc(root, "retry", id_)
    assert w.orc(root, "status", "--json").json()["ended"] == []


@pytest.mark.slow
def test_until_idle_succeeds_only_if_everything_was_produced(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "auto", merge="auto")
    w.submit(root, "title: greet\nprompt: greet\n", name="greet")
    done = w.orc(root, "run", "--until-idle", code=0)
    assert "done: greet-" in done.out
    assert done.out.endswith("Nothing is left to do.\n")
    assert done.err == ""
    (root / "queue" / "inbox" / "bad.yaml").write_text("promt: x\n")
    assert "reject: bad.yaml: " in w.orc(root, "run", "--until-idle", code=1).out


def test_the_board_is_live_on_a_terminal(root: Path) -> None:
    w.submit(root, "title: greet\nprompt: greet\n", name="greet")
    terminal = w.Terminal(root, "run")
    terminal.read_until("decide")
    terminal.interrupt()
    assert terminal.end() == 0
    assert "Left: 1 decide; 1 waits for you" in terminal.shown
    assert "LANE" in terminal.shown


def test_logs_follow_a_live_run_to_its_end(root: Path, tmp_path: Path) -> None:
    w.submit(root, "title: slow\nprompt: slow\n", name="slow")
    follower = subprocess.Popen(
        w.orc_argv("logs", "-f", "slow"), cwd=root, env=w.environment(), stdout=subprocess.PIPE, text=True
    )
    engine = subprocess.Popen(w.orc_argv("run", "--until-idle", "--quiet"), cwd=root, env=w.environment())
    try:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "first line\n"
        (tmp_path / "go").touch()
        assert follower.stdout.read() == "last line\n"
        assert follower.wait(timeout=30) == 0
    finally:
        engine.wait(timeout=50)
        follower.kill()
        follower.communicate()
    assert w.orc(root, "logs", "slow.attempt-1", code=0).out == "first line\nlast line\n"
    assert w.orc(root, "logs", "slow.attempt-9").code == ExitCode.NOT_FOUND


def test_logs_that_were_pruned_are_told_to_be(root: Path) -> None:
    id_ = w.asked(root, "crash")
    kept = sorted(path.name for path in (root / "state/logs" / id_[-8:-6]).iterdir())
    assert f"{id_}.attempt-1" in kept
    with (root / "orc.yaml").open("a") as file:
        file.write("logs: {runs: 0}\n")
    w.orc(root, "run", "--once", "--quiet")
    assert list((root / "state/logs").glob("*/*")) == []
    for name in (id_, f"{id_}.attempt-1"):
        done = w.orc(root, "logs", name, code=ExitCode.NOT_FOUND)
        assert f"the log of {name} is gone: it was pruned" in done.err
        assert "newest 0 runs" in done.err
    assert f"there is no run {id_}.attempt-9" in w.orc(root, "logs", f"{id_}.attempt-9").err


def test_logs_of_what_never_ran_say_so(root: Path) -> None:
    w.submit(root, "prompt: greet\n", name="greet")
    done = w.orc(root, "logs", "greet", code=ExitCode.NOT_FOUND)
    assert "has printed nothing yet" in done.err
    assert "It is ready." in done.err


def test_log_tells_only_the_steps_of_the_job_that_is_meant(root: Path) -> None:
    first = w.submit(root, "prompt: greet\n", name="greet")
    w.submit(root, f"title: 'Job: {first}'\nprompt: 'Job: {first}'\n", name="other")
    steps = w.orc(root, "log", "greet", "--json").json()["steps"]
    assert [step["facts"]["Job"] for step in steps] == [first]


def test_doctor_fails_while_something_must_be_put_right(root: Path) -> None:
    assert w.orc(root, "doctor", "--json", code=0).json()["healthy"] is True
    (root / "souls" / "worker.md").write_text("---\nbackend: missing\nfamily: alpha\nroles: [work]\n---\nx\n")
    done = w.orc(root, "doctor", code=1)
    assert "fail  agent worker: backend 'missing' is not in orc.yaml" in done.out


def test_rules_are_built_and_checked(root: Path) -> None:
    assert w.orc(root, "rules", "check", code=0).out == "The rules are in every file.\n"  # As `orc init` made them.
    (root / "CLAUDE.md").unlink()
    assert "run: orc rules build" in w.orc(root, "rules", "check", code=1).out
    w.orc(root, "rules", "build", code=0)
    assert w.orc(root, "rules", "check", code=0).out == "The rules are in every file.\n"
    (root / "CLAUDE.md").write_text("mine\n")
    assert "left alone" in w.orc(root, "rules", "build", code=ExitCode.REFUSED).out
    w.orc(root, "rules", "adopt", "CLAUDE.md", code=0)
    assert (root / "CLAUDE.md").read_text().startswith("mine\n")
