"""Figure 12: what it adds to taking jobs in that each is held against the open ones."""

from __future__ import annotations

import random
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.result import Middle, Options, Result, middle
from benchmarks.world import make_workspace, temporary_folder
from orchestrator.adapters.queue_folder import QueueFolder
from orchestrator.adapters.strict_yaml import dump
from orchestrator.engine.accept import take_in
from orchestrator.engine.workspace import open_workspace

LIMIT_RATIO = 1.25
SIZES = (200, 1_000, 2_000)
OFF = "duplicates: {ask: 0, block: 0}\n"
PARTS = (
    "order",
    "cart",
    "user",
    "invoice",
    "ledger",
    "parser",
    "queue",
    "report",
    "session",
    "token",
    "upload",
    "worker",
)
ACTS = ("load", "save", "merge", "split", "find", "count", "read", "write", "check", "build", "send", "fetch", "sort")
KINDS = (
    "The function `{f}` in {p} fails when its argument is empty: it raises an IndexError instead of returning nothing. "
    "Return an empty list there, keep the order of what is found otherwise, and add a test in {t} that shows it.",
    "Move `{f}` out of {p} into a module of its own, because {q} and {t} both import it and the file has grown beyond "
    "eight hundred lines. Nothing else may change: no names, no signatures, no behaviour. Leave an import behind for "
    "those who still use the old place, with a comment that says until when. Run the type checker and all tests.",
    "Users report (#{n}) that the page {u} takes more than {m} seconds when somebody has many orders. Look for queries "
    "that are made once for each row, starting from {p}; most likely `{f}` asks the database in a loop. Load what is "
    "needed with one query, measure before and after with the data set in fixtures/{d}.json, and write both numbers "
    "into the description. Do not add a cache: the figures on this page must be right at once after somebody has paid.",
    "Write the documentation of `{c}` in docs/{d}.md for people who have never used it. Begin with what it is for, in "
    "two sentences. Then show the shortest example that works, explain each argument with its default and its unit, "
    "say which errors it raises and what to do about each, and end with how to test code that uses it. All examples "
    "must be run by the tests. Look at {p} for what it really does, not at the old page, wrong since version {v}.",
    "Upgrade {k} to version {v}. Read its change log from our version on, list what concerns us, mend what breaks, and "
    "remove the work-around in {p} that was there for bug {n}. All tests must pass without a warning from {k}.",
    "Research how other tools solve {d} for large files, compare at least four of them by what they cost in memory, by "
    "whether they survive a crash in the middle, and by licence, and write a report of one page to notes/{d}.md. Each "
    "claim needs a source with a link and the date on which you looked at it. Say at the end which one you would take "
    "for {p}, why, and what would change your mind. It is no use to list features; what matters is what happens when "
    "something goes wrong. Where the documentation and the source disagree, believe the source and say so. Install "
    "nothing on this machine. If a comparison needs numbers, use those that the projects publish themselves and say on "
    "which machine they were measured. Mention what you did not look at, so that whoever reads it knows where the gaps "
    "are. The readers know our program well but none of these tools; so explain each in two sentences before you judge "
    "it. A table at the beginning is welcome, with a row for each tool and a column for each of the three questions.",
    "Add an option --{o} to the command {k}, which makes it print {d} as JSON instead of the table. The shape goes "
    "into schemas/{d}.schema.json and is tested like the others. An unknown value must be refused with a message that "
    "names the option and what is allowed; exit code 2. Mention it in docs/{k}.md and in the change log.",
    "The test {t}::test_{f} fails about once in {m} runs on slow machines. Find out what it waits for, make the wait "
    "one for an event and not for time, and run it two hundred times in a row to see that it is steady. Do not mark it "
    "as flaky and do not make the time-out longer. If the defect is in {p} and not in the test, mend it there.",
    "Translate the messages in locale/{d}/{k}.po into the language of that folder. Keep the placeholders as they are, "
    "keep the tone polite and short, use the words of the glossary, and leave out what is marked as obsolete. Ask a "
    "question where the meaning cannot be told from the source in {p}. Then look at the page {u}: nothing is cut off.",
    "Every call of `{f}` outside of {p} is to go through `{c}` from now on, which holds the lock while {q} is written. "
    "Change the callers, one commit for each package, and make `{f}` private at the end. A caller that cannot wait for "
    "the lock has to say so with a reason in a comment. Add a test with two processes that write at the same time, and "
    "see that it fails without the lock. Mention how many callers there were, and which held a lock of their own.",
)
"""What people ask for, in 40 to 190 words: each with names of its own put in."""


def measure(options: Options) -> list[Result]:
    """Figure 12."""
    sizes, turns = ((60,), 2) if options.quick else (SIZES, 7)
    asked: tuple[tuple[str, Callable[[int], Iterator[str]], float | None], ...] = (
        ("ten kinds of jobs", _of_kinds, LIMIT_RATIO),
        ("one job with another name in each", _of_one, None),
    )
    with temporary_folder("intake") as folder:
        empty = make_workspace(folder / "project", 10)
        return [
            _compared(empty, f"{what}, {size} dropped at once", texts, size, turns, limit)
            for what, texts, limit in asked
            for size in sizes
        ]


def _compared(
    empty: Path, what: str, texts: Callable[[int], Iterator[str]], size: int, turns: int, limit: float | None
) -> Result:
    """Processor time for one drop, with and without, turn and turn about."""
    used: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(turns + 1):
        for is_on in (True, False) if turn % 2 else (False, True):
            with temporary_folder("intake") as place:
                root = Path(shutil.copytree(empty, place / "project", symlinks=True))
                taken = _take_in(root, texts(size), size, "" if is_on else OFF)
            if turn:  # The first warms up.
                used[is_on].append(taken / size * 1000)
    mid, base = middle(used[True]), middle(used[False])
    return _result(what, mid, base, limit)


def _result(what: str, mid: Middle, base: Middle, limit: float | None) -> Result:
    return Result(
        "12",
        f"taking a job in, {what}",
        round(mid.median, 3),
        "ms of a processor",
        baseline=f"with near-duplicates switched off: {base.median:.2f} ms",
        ratio=round(mid.median / base.median, 3),
        limit=limit,
        on_ratio=True,
        bounded_by="reading the words of each text, and the open jobs that share rare ones",
        cpu_ms=round(mid.median, 2),
        **mid.spread(),
    )


def _take_in(root: Path, texts: Iterator[str], size: int, more: str) -> float:
    """Seconds of a processor to take all of them in, whatever becomes of each."""
    with open(root / "orc.yaml", "a") as file:
        file.write(more)
    with open_workspace(root) as ws:
        queue, used, done = QueueFolder(ws.paths.queue), 0.0, 0
        queue.prepare()
        for number, text in enumerate(texts):
            part = root / "queue" / "inbox" / f".{number}.part"
            part.write_text(dump({"prompt": text}))
            part.rename(root / "queue" / "inbox" / f"drop-{number:05d}.yaml")
        while done < size:
            before = _cpu()
            taken = take_in(ws, queue)
            used += _cpu() - before
            done += len(taken.moves) + len(taken.rejected)
            if not (taken.moves or taken.rejected):
                time.sleep(0.02)
    return used


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _of_kinds(number: int) -> Iterator[str]:
    chance = random.Random(7)
    for at in range(number):
        yield KINDS[at % len(KINDS)].format(**_names(chance))


def _of_one(number: int) -> Iterator[str]:
    chance = random.Random(7)
    names = _names(chance)
    for at in range(number):
        yield KINDS[2].format(**{**names, "f": f"{chance.choice(ACTS)}_{at}"})


def _names(chance: random.Random) -> dict[str, object]:
    one, two, act = chance.choice(PARTS), chance.choice(PARTS), chance.choice(ACTS)

    def path(folder: str) -> str:
        return f"{folder}/{chance.choice(PARTS)}/{chance.choice(PARTS)}_{chance.choice(ACTS)}{chance.randrange(40)}.py"

    version = f"{chance.randrange(9)}.{chance.randrange(30)}.{chance.randrange(9)}"
    return {
        **{"f": f"{act}_{one}_{two}", "c": f"{one.title()}{two.title()}{act.title()}", "k": f"{two}-{act}"},
        **{"p": path("src"), "q": path("src"), "t": path("tests"), "v": version, "o": f"{one}-{act}"},
        **{"n": chance.randrange(100, 9999), "m": chance.randrange(2, 90)},
        **{"u": f"/{one}/{two}/{chance.randrange(999)}", "d": f"{one}-{two}-{chance.randrange(99)}"},
    }
