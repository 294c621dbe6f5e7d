"""What a run does outside of its own tree is held for a person; what a person does meanwhile is not blamed on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_world import orc
from crash_helpers import KILLED, RUN, Expected, check_world, make_world
from engine_world import World, attempt, git

from orchestrator.adapters.audit import audit
from orchestrator.adapters.effects import Effect
from orchestrator.core.attempt_record import RunStatus
from orchestrator.core.job import State
from orchestrator.core.records import CardKind
from orchestrator.core.step import HELD

pytestmark = pytest.mark.slow

MADE = {"code.py": "print('what the agent made')\n", "lib/more.py": "print('more of it')\n"}


def assert_proved(world: World) -> None:
    report = audit(world.root / ".git", {"main": world.root / ".git"})
    assert (report.lies, report.unverifiable) == ((), ())


def work(world: World, script: str, **play: Any) -> None:
    """A job whose agent does its work and runs a script, with the person's checkout as `$HERE`."""
    run = f'set -e; HERE="{world.root}"; {script}'
    world.plays = [*world.plays, attempt(**{"write": MADE, **play}, run=run)]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\nallows: [tests, ci, orc, keys, programs]\n")
    world.run()


def found(world: World, number: int = 1) -> list[tuple[str, str]]:
    evidence = world.records("greet")[f"evidence-{number}"]
    return [(each.rule, each.place) for each in evidence.escapes]


ESCAPES = {
    "a hook": (
        'printf "#!/bin/sh\\n" > "$HERE/.git/hooks/post-commit"; chmod +x "$HERE/.git/hooks/post-commit"',
        ("config_touched", ".git/hooks/post-commit"),
    ),
    "the folder of hooks": ('git -C "$HERE" config core.hooksPath /tmp/evil', ("config_touched", ".git/config")),
    "attributes": ('echo "* filter=x" > "$HERE/.git/info/attributes"', ("config_touched", ".git/info/attributes")),
    "a commit on the target": (
        'cp code.py "$HERE/"; git -C "$HERE" commit -qam work',
        ("refs_touched", "refs/heads/main"),
    ),
    "its own commit on a branch": (
        'git add -A; git commit -qm work; git -C "$HERE" fetch -q "$PWD" HEAD:refs/heads/mine',
        ("refs_touched", "refs/heads/mine"),
    ),
    "a replaced commit": (
        'git -C "$HERE" replace HEAD "$(git -C "$HERE" commit-tree HEAD^{tree} -m x)"',
        ("refs_touched", "refs/replace/"),
    ),
    "what waits to land": (
        'git -C "$HERE" update-ref refs/orc/next/main/main "$(git -C "$HERE" commit-tree HEAD^{tree} -m x)"',
        ("refs_touched", "refs/orc/next/main/main"),
    ),
    "the ledger": (
        'git -C "$HERE" update-ref refs/heads/orc/state '
        '"$(git -C "$HERE" commit-tree orc/state^{tree} -p orc/state~1 -m forged)"',
        ("refs_touched", "refs/heads/orc/state"),
    ),
    "a copy in the checkout": (
        'mkdir -p "$HERE/lib"; cp lib/more.py "$HERE/lib/"; touch -d 2001-01-01 "$HERE/lib/more.py"',
        ("checkout_touched", "lib/more.py"),
    ),
}


@pytest.mark.parametrize("name", ESCAPES)
def test_what_a_run_does_outside_of_its_tree_waits_for_a_person_whatever_the_job_allows(
    world: World, name: str
) -> None:
    script, (rule, place) = ESCAPES[name]
    work(world, script)
    ((rule_found, place_found),) = found(world)
    assert rule_found == rule
    assert place_found.startswith(place)
    card = world.card("greet")
    assert card.kind is CardKind.MERGE
    first, told = card.context.splitlines()[:2]
    assert first == HELD
    assert told.startswith(f"outside of its own tree: {place}")
    assert world.job("greet").at.tampering == (told,)
    assert f"held ({rule}): outside of its own tree, attempt 1: {place}" in orc(world.root, "show", "greet").out
    prompt = git(
        world.root, "show", f"orc/state:open/{world.id('greet')[-8:-6]}/{world.id('greet')}/review-1.prompt.md"
    )
    assert told in prompt
    assert git(world.root, "log", "-1", "--format=%s", f"--grep=Escapes: {rule}", "orc/state").startswith("evidence: ")
    assert not (world.root / ".git" / "orc" / "notes" / f"{world.id('greet')}.attempt-1.json").exists()
    if name not in ("a replaced commit", "the ledger"):
        assert_proved(world)


def test_a_person_who_works_meanwhile_is_told_nothing(world: World) -> None:
    person = """
        git -C "$HERE" remote add friend /nowhere; git -C "$HERE" config branch.main.remote friend
        echo "mine" > "$HERE/notes.md"; git -C "$HERE" add notes.md; git -C "$HERE" commit -qm notes
        echo "not yet" > "$HERE/draft.md"; echo "print('mine')" > "$HERE/code2.py"; : > "$HERE/empty.py"
        git -C "$HERE" branch idea; git -C "$HERE" tag v1; git -C "$HERE" tag key HEAD:notes.md
        git -C "$HERE" switch -qc more; git -C "$HERE" switch -q main
    """
    work(world, person, write={**MADE, "empty.py": ""})
    assert found(world) == []
    assert world.records("greet")["evidence-1"].escape_rules == 1
    assert world.job("greet").at.tampering == ()
    assert world.show("notes.md") == "mine"
    assert_proved(world)


def test_old_content_that_a_person_brings_back_is_not_the_runs(world: World) -> None:
    (world.root / "code.py").write_text(MADE["code.py"])
    git(world.root, "commit", "-qam", "once")
    git(world.root, "revert", "--no-edit", "HEAD")
    work(world, 'git -C "$HERE" checkout -q HEAD~1 -- code.py; git -C "$HERE" commit -qm back', delete=["old"])
    assert found(world) == []


def test_the_idle_tree_of_another_agent_is_watched(world: World) -> None:
    world.souls = {"ada": "alpha work", "bea": "beta review", "cid": "alpha work"}
    idle = 'echo x >> "$HERE/state/trees/cid/main/first.py"; echo y > "$HERE/state/trees/cid/main/new.txt"'
    world.plays = [attempt(write={"first.py": "1\n"})]
    world.set_up()
    world.drop("first.yaml", "prompt: first\nagent: cid\n")
    world.run()
    assert world.state("first") is State.DONE
    world.plays = [attempt(write=MADE, run=f'HERE="{world.root}"; {idle}')]
    world.write_plays()
    world.drop("greet.yaml", "prompt: greet\nagent: ada\n")
    world.run()
    top = "state/trees/cid/main"
    assert sorted(found(world)) == [("trees_touched", f"{top}/first.py"), ("trees_touched", f"{top}/new.txt")]
    assert world.card("greet").kind is CardKind.MERGE
    # It was there before the next run began, so that is not to blame.
    world.plays = [attempt(write={"third.py": "3\n"})]
    world.write_plays()
    world.drop("third.yaml", "prompt: third\nagent: ada\n")
    world.run()
    assert world.records("third")["evidence-1"].escapes == ()


def test_the_engine_does_not_stand_still_for_the_trees_of_many_agents(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.engine.escapes.TREES_S", -1.0)
    idle = world.root / "state" / "trees" / "cid" / "main"
    world.souls = {"ada": "alpha work", "bea": "beta review", "cid": "alpha work"}
    world.plays = [attempt(write={"first.py": "1\n"})]
    world.set_up()
    world.drop("first.yaml", "prompt: first\nagent: cid\n")
    world.run()
    world.plays = [attempt(write=MADE, run=f'echo x >> "{idle}/first.py"')]
    world.write_plays()
    world.drop("greet.yaml", "prompt: greet\nagent: ada\n")
    world.run()
    assert (found(world), world.state("greet")) == ([], State.DONE)


def test_what_an_earlier_attempt_left_behind_is_told_with_the_later_one(world: World) -> None:
    world.plays = [attempt(2, write={"code.py": "print('clean')\n"}, delete=["broken"])]
    work(world, 'echo x > "$HERE/.git/hooks/pre-push"', match={"attempt": 1}, write={**MADE, "broken": "x\n"})
    evidence = world.records("greet")["evidence-2"]
    assert [(each.rule, each.attempt) for each in evidence.escapes] == [("config_touched", 1)]
    assert world.card("greet").context.splitlines()[1].startswith("outside of its own tree: .git/hooks/pre-push")
    assert_proved(world)


def test_a_run_whose_note_is_gone_is_told_as_not_looked_at(world: World) -> None:
    work(world, 'rm -rf "$HERE/.git/orc/notes"')
    assert [rule for rule, _ in found(world)] == ["not_looked"]
    assert "nobody can say" in world.card("greet").context.splitlines()[1]
    assert_proved(world)


def test_the_note_holds_no_values_of_the_ledger_and_can_be_read_by_its_owner_alone(world: World) -> None:
    seen = world.root.parent / "seen.json"
    work(world, f'cat "$HERE"/.git/orc/notes/*.json > {seen}; stat -c %a "$HERE"/.git/orc/notes/*.json >> {seen}')
    text, _, mode = seen.read_text().rpartition("}")
    noted = json.loads(text + "}")
    assert mode.strip() == "600"
    assert set(noted["refs"]) == {"refs/heads/main"}
    assert found(world) == []


def test_what_a_run_did_whose_supervisor_died_is_told_with_the_next_attempt(world: World) -> None:
    world.plays = [
        attempt(1, run=f'echo x > "{world.root}/.git/hooks/pre-push"; kill -9 $(ps -o ppid= -p $PPID)'),
        attempt(2, write=MADE),
    ]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.records("greet")["attempt-1"].status is RunStatus.LOST
    assert [(each.rule, each.attempt) for each in world.records("greet")["evidence-1"].escapes] == [
        ("config_touched", 1)
    ]
    assert_proved(world)


def test_many_branches_hide_none_and_the_target_is_looked_at_first(world: World) -> None:
    decoys = 'for n in $(seq -w 1 120); do git -C "$HERE" branch "a-$n" "$(git commit-tree HEAD^{tree} -m $n)"; done'
    script = f'git add -A; git commit -qm work; git push -q "$HERE" HEAD~1:refs/heads/aa; {decoys}'
    script = script.replace("$(git commit-tree", '$(git -C "$HERE" commit-tree')
    work(world, f'{script}; cp code.py "$HERE/"; git -C "$HERE" commit -qam work')
    assert found(world) == [("refs_touched", "refs/heads/main")]


def test_many_copies_on_many_branches_cost_one_walk_through_the_history(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    branches = " ".join(f"b{number}" for number in range(5))
    copies = 'git -C "$HERE" switch -q -c "$name" main; cp -r many "$HERE/"; git -C "$HERE" add -A many; '
    copies += 'echo "$name" > "$HERE/name"; git -C "$HERE" add name; git -C "$HERE" commit -qm "$name"'
    spans = world.root.parent / "spans"
    monkeypatch.setenv("ORC_TRACE_SPANS", str(spans))
    many = {f"many/{number}.py": f"made = {number}\n" for number in range(60)}
    work(world, f'for name in {branches}; do {copies}; done; git -C "$HERE" switch -q main', write=many)
    assert [place for _, place in found(world)] == [f"refs/heads/{name}" for name in branches.split()]
    told = world.records("greet")["evidence-1"].escapes[0].text
    assert told.endswith("which has what it made of many/0.py, many/1.py, many/10.py and 57 more")
    names = [json.loads(line)["name"] for line in spans.read_text().splitlines()]
    assert names.count("log") < 20


def test_what_was_found_is_told_where_the_rest_cannot_be_read(world: World) -> None:
    torn = f"tree {'12345678' * 5}\nauthor a <a@b.invalid> 1 +0000\ncommitter a <a@b.invalid> 1 +0000\n\nx"
    commit = f"printf '{torn}' | git -C \"$HERE\" hash-object -t commit -w --stdin --literally"
    work(world, f'git -C "$HERE" update-ref refs/heads/torn "$({commit})"; echo x > "$HERE/.git/hooks/pre-push"')
    assert found(world) == [("config_touched", ".git/hooks/pre-push"), ("not_looked", "what lies there")]
    assert_proved(world)


@pytest.mark.parametrize("side", ["before", "after"])
def test_what_a_person_does_between_the_note_and_the_start_is_not_the_runs(tmp_path: Path, side: str) -> None:
    world = make_world(tmp_path)
    world.job("plain")
    world.kill_at = [f"{Effect.RUN_NOTE}:{side}", f"{Effect.RUN_FOLDER}:{side}"]
    assert world.orc(*RUN) == KILLED
    hook = world.root / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\n")
    assert world.orc(*RUN) == KILLED
    hook.unlink()
    world.settle()
    check_world(world, {"plain": Expected()})
    assert "Escapes:" not in world.git("log", "--format=%B", "orc/state")
    assert not list((world.root / ".git" / "orc" / "notes").iterdir())
