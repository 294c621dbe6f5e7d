"""Short lives of one or two jobs, in each of which one `orc` is the one to which something happens."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from crash_helpers import KILLED, Expected, World, check_world, make_world
from run_helpers import SEALED_ENVIRONMENT
from syscall_helpers import TABLE, Injection, Point, points_of

from orchestrator.core.job import Lane, State

LOUD = ("run", "--until-idle")
ACKNOWLEDGED = (0, 1)
"""Exit codes of `orc run` that came to its end."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is so before, the `orc` to which it happens, what people do after it, and how the jobs must have ended."""

    prepare: Callable[[World], None]
    act: Callable[[Injection], None]
    finish: Callable[[World], None]
    expected: Mapping[str, Expected]


def play(scene: Scene, injection: Injection) -> None:
    """Play a scene in a new world, whatever happens in it, and hold the world against the checker."""
    world = injection.world
    scene.prepare(world)
    try:
        scene.act(injection)
    finally:
        injection.close()
    world.settle()
    scene.finish(world)
    follow_cards(world)
    check_world(world, dict(scene.expected))


def nothing(world: World) -> None:
    """No more is needed."""


def run(injection: Injection) -> None:
    """An engine, until nothing moves without a person."""
    code = injection.orc(*LOUD)
    assert code in (*ACKNOWLEDGED, KILLED) or injection.find_hit(), injection.world.said()


def dropped(*names: str, **keys: str) -> Callable[[World], None]:
    """Jobs of these names wait in the inbox."""

    def prepare(world: World) -> None:
        for name in names:
            world.job(name, **keys)

    return prepare


def command(verb: str, of: Callable[[World], str], *more: str) -> Callable[[Injection], None]:
    """A person gives a command; where it was killed or failed they give it again. An answer of 0 is a promise."""

    def act(injection: Injection) -> None:
        world, about = injection.world, of(injection.world)
        done = injection.orc(verb, about, *more)
        until = time.monotonic() + 30
        # It may have done its work by then, and is told so: refused, or not found any more.
        while time.monotonic() < until and (clear_named(world, world.said()) or done not in (0, 3, 4)):
            done = world.orc(verb, about, *more)
        assert done in (0, 3, 4), world.said()

    return act


# --- what people do ---


def clear_named(world: World, text: str) -> bool:
    """Remove the locks of killed gits that a text names, move away or stash what it says is in the way. Whether any."""
    in_the_way = re.search(r"(\S+) in \S+ would be overwritten", text)
    if in_the_way:
        (world.root / in_the_way[1]).unlink(missing_ok=True)
        return True
    git_dir = world.root / ".git"
    locks = [
        git_dir / name for name in ("refs/heads/main.lock", "index.lock", "HEAD.lock") if str(git_dir / name) in text
    ]
    for lock in locks:
        lock.unlink(missing_ok=True)
    if "changes that are not committed" in text:
        world.git("stash", "--quiet")
        return True
    return bool(locks)


def follow_cards(world: World) -> None:
    """What broke in the person's own repository, or because of the machine, is told on a card; they do what it says.

    A lock that it names is removed, half of a landing is stashed, and then it lands; checks that could not be run are
    run again. What no card names stays, and fails the checker.
    """
    for _ in range(6):
        cards = list((world.root / "queue" / Lane.DECIDE).glob("*.card-*.yaml"))
        for card in cards:
            if "The checks could not be run" in card.read_text():
                assert world.orc("answer", card.stem, "recheck") == 0, world.said()
                world.settle()
        landings = [card for card in cards if card.exists() and "kind: landing" in card.read_text()]
        if not landings:
            return
        clear_named(world, landings[0].read_text())
        world.settle()
        if landings[0].exists():
            world.act("answer", landings[0].stem, "retry")
            world.settle()


def cancel_at_work(injection: Injection) -> None:
    """A person cancels a job whose agent is at work."""
    world = injection.world
    first = injection.start(*LOUD)
    with injection.watching(first), world.engine(first) as (until, _):
        # An attempt that died before its agent began is followed by one that waits for nobody, and may be over first.
        until(lambda: world.begun("stopped") or world.begun("stopped", 2))
        if world.begun("stopped", 2) or world.orc("cancel", world.id_of("stopped")) != 0:
            until(lambda: "stopped" in world.shown(Lane.DONE))
        else:
            until(lambda: "stopped" in world.shown(Lane.CANCELLED))


def retry_stopped(world: World) -> None:
    """What was cancelled is to be done after all."""
    world.settle()
    if "stopped" not in world.shown(Lane.DONE):
        world.act("retry", world.id_of("stopped"))
        world.settle()


def cancelled(world: World) -> None:
    """A job was cancelled while its agent was at work."""
    world.job("stopped")
    cancel_at_work(Injection(world, Point("", "none", "sync", 1)))
    world.settle()


def collide_at_work(injection: Injection) -> None:
    """A person commits to the file that an agent is at work on: what it made collides, and is brought together."""
    world = injection.world
    first = injection.start(*LOUD)
    with injection.watching(first), world.engine(first) as (until, _):
        until(lambda: world.begun("clash") or world.begun("clash", 2))
        (world.root / "clash.py").write_text("clash = 0\n")
        world.git("add", "clash.py")
        world.commit("the person has one too")
        world.go("clash")
        until(lambda: "clash" in world.shown(Lane.DONE) | world.shown(Lane.DECIDE))


def break_base(world: World) -> None:
    """The checks fail on what everybody starts from."""
    (world.root / "red").touch()
    world.git("add", "red")
    world.commit("break the checks")
    world.job("red")


def mend_base(world: World) -> None:
    """A person puts it right."""
    assert "red" in world.shown(Lane.WAITING) | world.shown(Lane.DECIDE), world.ledger_log()
    world.git("rm", "--quiet", "red")
    world.commit("put the checks right")
    world.settle()


def mended_base(world: World) -> None:
    """The base was red, and is not any more."""
    break_base(world)
    world.settle()
    world.git("rm", "--quiet", "red")
    world.commit("put the checks right")


def in_the_way(world: World) -> None:
    """A person's own change is where a job is to land."""
    (world.root / "seed.py").write_text("seed = 'the person is at work here'\n")
    world.job("blocked")


def clear_the_way(world: World) -> None:
    """It is not any more."""
    assert "blocked" in world.shown(Lane.DECIDE), world.ledger_log()
    world.git("checkout", "--quiet", "seed.py")
    world.settle()


def way_cleared(world: World) -> None:
    """It was in the way, and is not any more."""
    in_the_way(world)
    world.settle()
    world.git("checkout", "--quiet", "seed.py")


def asked(world: World) -> None:
    """A job waits for a person's yes."""
    world.job("plain", merge="ask")
    world.settle()


def released(world: World) -> None:
    """What was held is to go on, and a person says yes."""
    world.act("release", world.id_of("plain"))
    approved(world)


def approved(world: World) -> None:
    """A person says yes."""
    world.settle()
    world.act("approve", card_of(world))
    world.settle()


def merged(world: World) -> None:
    """A job is on main."""
    world.job("plain")
    world.settle()


def undone(world: World) -> None:
    """What was undone is told in the ledger, once, which goes on being written."""
    assert world.git("log", "--format=%s", "main").splitlines().count("Revert 'plain'") == 1
    assert sum(line.startswith("revert: plain-") for line in world.ledger_log().splitlines()) == 1
    world.job("branch", merge="branch")
    world.settle()


def card_of(world: World) -> str:
    """The one open card."""
    (card,) = (world.root / "queue" / Lane.DECIDE).glob("*.card-*.yaml")
    return card.stem


def id_of(name: str) -> Callable[[World], str]:
    """The id of a job that has begun."""
    return lambda world: world.id_of(name)


def cluttered(world: World) -> None:
    """Packing is due, and a file lies there that is no job."""
    world.clutter()
    world.job("branch", merge="branch")
    world.drop("broken.yaml", "prompt: [never closed\n")


def submit(injection: Injection) -> None:
    """A person hands in a job; where no id came back they look whether it is there, and else do it again."""
    world = injection.world
    file = world.outside / "plain.yaml"
    file.write_text("title: plain\nprompt: do it\n")
    if injection.orc("submit", str(file)) == 0:
        assert "accept: plain-" in world.ledger_log(), "an id was told, and the job is not there"
    until = time.monotonic() + 30
    while "accept: plain-" not in world.ledger_log():
        # A lock that a killed git left is told of, and taken for what it is a few seconds later.
        assert world.orc("submit", str(file)) == 0 or time.monotonic() < until, world.said()


_TWO = {"plain": Expected(attempts=None, reviews=None), "fixes": Expected(attempts=None, reviews=None)}


def _ends(name: str, *, on_main: int = 1, spent: int | None = 0) -> dict[str, Expected]:
    return {name: Expected(attempts=None, reviews=None, on_main=on_main, spent=spent)}


def _cancelled(name: str) -> dict[str, Expected]:
    return {name: Expected(State.CANCELLED, attempts=None, reviews=None, on_main=0)}


SCENES = {
    "two": Scene(dropped("plain", "fixes"), run, nothing, _TWO),
    "plain": Scene(dropped("plain"), run, nothing, _ends("plain")),
    "fixes": Scene(dropped("fixes"), run, nothing, _ends("fixes")),
    "lost": Scene(dropped("lost"), run, nothing, _ends("lost")),
    "stop": Scene(dropped("stopped"), cancel_at_work, retry_stopped, _ends("stopped")),
    "red": Scene(break_base, run, mend_base, _ends("red")),
    "mended": Scene(mended_base, run, nothing, _ends("red")),
    "blocked": Scene(in_the_way, run, clear_the_way, _ends("blocked")),
    "cleared": Scene(way_cleared, run, nothing, _ends("blocked")),
    "clutter": Scene(cluttered, run, nothing, _ends("branch", on_main=0)),
    "submit": Scene(nothing, submit, nothing, _ends("plain")),
    "approve": Scene(asked, command("approve", card_of), nothing, _ends("plain")),
    "retry": Scene(cancelled, command("retry", id_of("stopped")), nothing, _ends("stopped")),
    "clash": Scene(dropped("clash"), collide_at_work, nothing, _ends("clash", spent=None)),
    "mend": Scene(dropped("mend", reproduces="true"), run, nothing, _ends("mend")),
    "hold": Scene(asked, command("hold", id_of("plain")), released, _ends("plain")),
    "edit": Scene(asked, command("edit", id_of("plain"), "--set", "priority=P1"), approved, _ends("plain")),
    "cancel": Scene(asked, command("cancel", id_of("plain")), nothing, _cancelled("plain")),
    "revert": Scene(merged, command("revert", id_of("plain")), undone, _ends("plain") | _ends("branch", on_main=0)),
}


# --- the table ---


def trace(name: str, place: Path) -> dict[tuple[str, str], list[int]]:
    """Play a scene in which nothing happens; every change that its processes made."""
    injection = Injection(make_world(place))
    play(SCENES[name], injection)
    found = points_of(injection.logs)
    # Which of two jobs is first is chance, and so is which shim is which: the other scenes have them.
    return {key: nth for key, nth in found.items() if name != "two" or key[0] in ("main", "nursery")}


def write_table(names: list[str]) -> None:
    """Trace scenes, all if none is named, and put what was found into the table."""
    lines = TABLE.read_text().splitlines() if TABLE.exists() else []
    kept = [line for line in lines if names and line and line[0] != "#" and line.split()[0] not in names]
    for name in names or SCENES:
        place = Path(tempfile.mkdtemp(prefix="orc-trace-"))
        found = trace(name, place)
        shutil.rmtree(place)
        kept += [f"{name} {who} {call} {','.join(map(str, nth))}" for (who, call), nth in sorted(found.items())]
        print(f"{name}: {sum(map(len, found.values()))} points of {len({who for who, _ in found})} processes")
    head = "# scene, process, call, which of them. Written by: python tests/syscall_scenes.py [SCENE ...]\n"
    TABLE.write_text(head + "\n".join(kept) + "\n")


if __name__ == "__main__":
    os.environ.update(SEALED_ENVIRONMENT)
    write_table(sys.argv[1:])
