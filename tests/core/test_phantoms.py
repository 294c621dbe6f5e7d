"""What a report claims to have made: what is found to be untrue, and what no honest author is blamed for."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from builders import a_change, a_spec
from growth import LINEAR, growth, seconds_of
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.config import DOCS
from orchestrator.core.evidence_record import Failure
from orchestrator.core.gate import DiffFacts, judge_diff
from orchestrator.core.job import Expects
from orchestrator.core.phantoms import Seen, find_phantoms, ignore_patterns, is_ignored, open_claims
from orchestrator.core.report_claims import Claimed, claims_in

CHANGES = (a_change("src/till.py"), a_change("tests/test_till.py", "A"), a_change("old/rates.py", "D"))
TREE = frozenset({"src/till.py", "tests/test_till.py", "README.md", "docs/guide.md", "old.py", "Straße.md"})
NEW, HERE, BEFORE = "4f1c2aa9", "c0ffee1", "0ddba11"
SEEN = Seen(frozenset({HERE}), frozenset({BEFORE}), paths=TREE)

FALSE: list[tuple[str, str]] = [
    ("Committed as 4f1c2aa9 on branch fix/rounding. Tests are green.", NEW),
    ("I rounded the sum and committed it as `4f1c2aa9`.", NEW),
    ("All changes are committed (4f1c2aa9).", NEW),
    ("**Committed** in `4f1c2aa9`: Round the sum", NEW),
    ("Committed the rounding and its test as commit 4f1c2aa9.", NEW),
    ("Committed 4f1c2aa9.", NEW),
    ("- Commit: `4f1c2aa9` (Round the sum)", NEW),
    ("**Commit:** 4f1c2aa9", NEW),
    ("I created commit 4f1c2aa9.", NEW),
    ("The fix was committed as 4f1c2aa9.", NEW),
    ("Committed as 0ddba11.", BEFORE),
    ("I've committed everything as `0ddba11`.", BEFORE),
    ("Created `src/rates.py`.", "src/rates.py"),
    ("I wrote a new module `src/rates.py`, which holds the rates.", "src/rates.py"),
    ("I rounded the sum and added `src/rates.py`.", "src/rates.py"),
    ("Fixed the sum, updated `CHANGES.md`.", "CHANGES.md"),
    ("Added [the rates](src/rates.py).", "src/rates.py"),
    ("Added [`rates.py`](src/rates.py) to hold them.", "src/rates.py"),
    ("- Created `src/till.py` and `src/rates.py`", "src/rates.py"),
    ("1. **Added** `src/rates.py`: the rates of each country", "src/rates.py"),
    ("- [x] Added `src/rates.py`", "src/rates.py"),
    ("Added tests in `tests/test_rates.py`.", "tests/test_rates.py"),
    ("I also wrote 3 new tests in `tests/test_rates.py`, all pass.", "tests/test_rates.py"),
    ("\u2705 Created `src/till.py`\n\u2705 Added migration `src/rates.sql`", "src/rates.sql"),
    ("\u2705 Created `src/till.py`\n\u2705 Added migration `src/rates.sql`", "src/rates.sql"),
    ("New file: `src/rates.py`", "src/rates.py"),
    ("- `src/rates.py` (new): the rates", "src/rates.py"),
    ("Files created:\n- `src/rates.py`: the rates", "src/rates.py"),
    ("## Files changed (2)\n\n- src/till.py\n- src/rates.py - the rates", "src/rates.py"),
    ("**New and changed files:**\n\n1. [rates](src/rates.py)", "src/rates.py"),
    ("Deleted `old.py`.", "old.py"),
    ("I rounded the sum and removed the file `old.py`, which nobody uses.", "old.py"),
    ("Deleted files:\n- `old.py`", "old.py"),
    ("Created `highlight.py`.", "highlight.py"),
    ("Commit: 4f1c2aa9 on branch orc/x", NEW),
    ("Commit: 4f1c2aa9 - Round the sum", NEW),
    ("I created the following files:\n\n- `src/rates.py`", "src/rates.py"),
]
HONEST = [
    "",
    "Done.",
    "I rounded the sum in `src/till.py`.",
    f"Committed as {HERE}.",
    f"Commit: {BEFORE}",
    f"This takes back what {BEFORE} had changed; `git revert {NEW}` would not have merged.",
    f"The sum was committed in {BEFORE} as it is.",
    f"Committed a fix of the bug introduced in {BEFORE}.",
    f"Committed in {BEFORE}, the helper was never called.",
    f"Bob committed it as {NEW}.",
    f"I have not committed anything; {NEW} is what upstream committed as 4f1c2aa8.",
    f"Committed as {NEW}, then amended.",
    f"The library is pinned now. Commit: {NEW}",
    f"If it is committed as {NEW}, it can be reverted.",
    "Committed on 20261120 as 1234567, a number.",
    "It is committed as defaced.",
    f"```\n$ git commit -am x\n[main {NEW}] x\nCommitted as {NEW}\n```",
    f"> Committed as {NEW}.",
    f"`Committed as {NEW}`",
    "Im Commit 4f1c2aa9 wurde die Summe gerundet; `src/satz.py` wurde angelegt.",
    "Die Datei `src/satz.py` ist neu, committed as usual.",
    "`config.json` is read by `src/till.py`.",
    "Added support for `config.json`.",
    "Added `config.json` parsing.",
    "Added `config.json` and `local.json` parsing.",
    "Added a reader that creates `out.csv` when it runs.",
    "The command created `out.csv`.",
    "I ran the till and it wrote `out.csv`.",
    "I ran the till and created `out.csv`.",
    "Tests pass. The program then wrote `log.txt`.",
    "Created `scratch.py` to see the failure, and removed it.",
    "Created `repro.py`.\nThen I deleted it again.",
    "Created `repro.py` to see the failure.\n\nThe file `repro.py` was removed again.",
    "Created `notes.md` (untracked).",
    "I would have added `rates.py`, but there was no need.",
    "Not done: created `rates.py`.",
    "Next steps: add `src/rates.py`.",
    "- [ ] Created `src/rates.py`",
    "Added `rates.py`, renamed from `sets.py`.",
    "Created `/tmp/out.csv`.",
    "Created `../other/out.csv` and `~/x.md`.",
    "Created `https://example.org/x.md`.",
    "Added `src/*.py` and `tests/test_{name}.py`.",
    "Added `till.total` and `node.js`.",
    "Changed `response.json` to `response.data`.",
    "Added `total()` in `till`.",
    "Updated `till.py`, `test_till.py` and `guide.md`.",
    "Updated `work/src/till.py`.",
    "Updated `./src/till.py:12` and `README.MD`.",
    "Updated `Strasse.md`.",
    "Removed `rates.py`.",
    "Added `highlight.js` to render code, and I added `Discord.js`.",
    "Added `discord.py`.",
    "Added `docs/rates.md`? No: the guide has it.",
    "Deleted `old.py`? Not yet.",
    "Deleted `old.py`, then regenerated it: `old.py` is the newest now.",
    "Added `@/components/Rate.tsx` and `@acme/rates/index.ts`.",
    "Added `cdn.example.org/npm/rates.js`.",
    "I added `rates.py`, then consolidated it into `src/till.py`.",
    "Files created:\n- `out/rates.html` (by the build)",
    f"Commit: {NEW} is the first bad one.",
    f"Commit: {NEW} (base)",
    f"Commit = {NEW} broke it",
    "Deleted `old/rates.py` and moved on.",
    "Removed `old.py` from the list.",
    "Removed `old.py`'s import.",
    "Removed `old.py` as a target, added `rates.json` as an option.",
    "Removed `old.py` imports.",
    "Deleted `old.py` and wrote it anew.",
    "Deleted `src/till.py`.",
    "Created `.pytest_cache/x.md` and `outbox/ask.yaml`.",
    "Files created:\n\n- none\n\nThe file `rates.py` is read.",
    "Files changed:\n- `src/rates.py` (not committed)",
    "Files changed:\n- `a.py` \u2192 `src/till.py`",
    "Added:\n- `rates.json` parsing",
    "| file | |\n|---|---|\n| Created `rates.py` | new |",
    "    Created `rates.py`.",
    "~~~\nCreated `rates.py`.\n```\nCreated `sets.py`.\n~~~",
]


def untrue(report: str, seen: Seen = SEEN, task: str = "Round the sum.") -> tuple[str, ...]:
    found = find_phantoms(open_claims(report, CHANGES), seen, task)
    return (*found.commits, *found.missing, *found.standing)


@pytest.mark.parametrize(("report", "what"), FALSE)
def test_what_is_claimed_and_is_not_so_is_found(report: str, what: str) -> None:
    assert untrue(report) == (what,)


@pytest.mark.parametrize("report", HONEST)
def test_what_an_honest_author_says_is_no_false_claim(report: str) -> None:
    assert untrue(report) == ()


def test_all_that_is_untrue_is_listed_once() -> None:
    report = f"Created `a.py` and `b.py`. Created `a.py`. Deleted `old.py`. Committed as {NEW}. Committed as {NEW}."
    assert untrue(report) == (NEW, "a.py", "b.py", "old.py")


def test_an_own_commit_is_told_apart_from_one_that_may_be_an_earlier_one() -> None:
    found = claims_in(f"Committed as {NEW}. The bug was committed as {BEFORE}.")
    assert (found.commits, found.own) == ((NEW, BEFORE), frozenset({NEW}))


def test_a_commit_that_the_task_names_or_that_lies_beside_the_work_is_no_false_claim() -> None:
    report = f"Committed as {NEW}."
    assert untrue(f"Committed as {NEW}{'0' * 32}.", task=f"Do again what {NEW} did.") == ()
    assert untrue(report, task=f"Do again what {NEW} did.") == ()
    assert untrue(report, replace(SEEN, aside=(f"{NEW}{'0' * 32}",))) == ()
    assert untrue(report, replace(SEEN, aside=(f"0{NEW}{'0' * 31}",))) == (NEW,)


@pytest.mark.parametrize(
    ("text", "ignored", "not_ignored"),
    [
        ("build/", ["build/x.md", "a/build/b/x.md"], ["builds/x.md", "rebuild.md"]),
        ("/dist", ["dist/x.js"], ["distant/x.js"]),
        ("*.csv", ["x.csv", "data/x.csv"], ["x.csv.py"]),
        ("docs/_build/", ["docs/_build/x.html", "docs/_build/a/b.html"], ["docs/build/x.html", "x/docs/a.html"]),
        ("**/out/*.json", ["a/out/x.json", "out/x.json"], ["x.json"]),
        ("**/made/**", ["made/x.md", "a/made/b/x.md"], ["x.md", "remade/x.md"]),
        ("**/x.md", ["x.md", "a/b/x.md"], ["ax.md"]),
        ("a/**/b.md", ["a/b.md", "a/x/y/b.md"], ["b.md", "c/b.md"]),
        ("aa*aa", ["aaaa", "x/aa.aa"], ["aaa", "aa/aa"]),
        ("**/a?/b*/c", ["x/ay/b1/c", "ab/bb/x/c/d"], ["a/b/c", "xab/b/c", "ab/b/cc"]),
        ("test_?.py\n# x.md\n\n!y.md", ["test_1.py"], ["tests_1.txt", "x.md", "y.md"]),
        ("*.py[cod]\n\\#x.md", ["x.pyc", "a/x.pyd", "#x.md"], ["x.py", "x.md"]),
        ("*", ["x.md", "a/b.md"], []),
        ("/", [], ["x.md"]),
    ],
)
def test_what_git_may_ignore(text: str, ignored: list[str], not_ignored: list[str]) -> None:
    patterns = [("", each) for each in ignore_patterns(text)]
    assert [path for path in (*ignored, *not_ignored) if is_ignored(path, patterns)] == ignored


def test_a_file_that_is_ignored_in_its_folder_is_no_false_claim() -> None:
    seen = replace(SEEN, ignores=(("docs", "made/*.html"),))
    assert untrue("Created `docs/made/guide.html`.", seen) == ()
    assert untrue("Created `made/guide.html`.", seen) == ()
    assert untrue("Created `made/guide.py`.", seen) == ("made/guide.py",)


def test_a_lock_file_that_was_deleted_is_mostly_written_anew() -> None:
    seen = replace(SEEN, paths=frozenset({"package-lock.json", "web/pnpm-lock.yaml", "package.json"}))
    said = "Deleted `package-lock.json` and `web/pnpm-lock.yaml`. Ran the installation."
    assert untrue(said, seen) == ()
    assert untrue("Deleted `package.json`.", seen) == ("package.json",)


def test_a_path_below_what_is_no_folder_is_not_looked_for() -> None:
    seen = replace(SEEN, paths=frozenset({"vendor/lib"}))
    assert untrue("Updated `vendor/lib/src/x.py`.", seen) == ()


def test_the_gate_says_what_is_untrue_and_asks_nothing_of_an_investigation() -> None:
    facts = DiffFacts(CHANGES, seen=SEEN, report=f"Created `a.py`, deleted `old.py`. Committed as {NEW}.")
    [failure] = judge_diff(a_spec(), facts, DOCS)
    assert failure == Failure(
        "phantom",
        f"The report claims what is not so: no commit {NEW} is in this work; no file a.py is in its tree; old.py is "
        "not deleted. Make it so, or report what is; the work may stay.",
    )
    rules = {each.rule for each in judge_diff(a_spec(expects=Expects.NO_CHANGE), facts, DOCS)}
    assert "phantom" not in rules
    assert "phantom" not in {each.rule for each in judge_diff(a_spec(), replace(facts, changes=()), DOCS)}


@given(st.text(alphabet="`*[]()- \n.,:#\ue0000aé/>|~Committed asCreated4f1c2aa9`x.py`", max_size=200))
def test_no_report_raises_and_no_claim_is_made_up(report: str) -> None:
    found = claims_in(report)
    assert all(path in report for path in (*found.made, *found.deleted))
    assert all(each in report for each in found.commits)


HOSTILE = [
    "Created `a.py`, ",
    "committed ",
    "I committed it as ",
    "created a new file ",
    "`",
    "[",
    "[a](b.py) and ",
    "Added `x.py` and ",
    "Commit: ",
    "4f1c2aa9 ",
    "- [x] Created `a.py`\n",
    "Files created:\n- a/",
    "a/" * 50,
    " " * 50,
    "# * ",
    "**",
    "```\n",
    "new files: `a.py`, ",
    "was deleted ",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_what_a_report_costs_follows_its_length(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.core.report_claims.READ_CHARS", 10**7)
    assert growth(lambda size: claims_in(piece * (size // len(piece))), 10_000) < LINEAR


def test_very_many_patterns_do_not_hold_anybody_up() -> None:
    patterns = [("", f"**/{'a*' * 20}{number}") for number in range(1_000)]
    paths = [f"{'a/' * 15}x{number}.py" for number in range(30)]
    assert seconds_of(lambda: [is_ignored(path, patterns) for path in paths]) < 2
    assert not any(is_ignored(path, patterns) for path in paths)


def test_many_claims_patterns_and_paths_are_bounded() -> None:
    report = "".join(f"Created `a{number}.py`. Committed as 4f1c2{number:03}.\n" for number in range(500))
    found = claims_in(report)
    assert (len(found.made), len(found.commits)) == (30, 10)
    assert len(ignore_patterns("x\n" * 10_000)) == 500
    assert not re.search(r"\s", "".join(found.commits))
    assert find_phantoms(Claimed(), Seen(), "") == ((), (), ())
