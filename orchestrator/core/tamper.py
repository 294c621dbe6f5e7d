"""The tamper guard: what a change does to the tests, to the way they are run, to CI, and to orc's own files.

It also tells of what no reviewer should have to find or could see: keys, programs that nobody can read, and other
binary files. Nothing of it is refused: a job may ask for it, and then says so under `allows`. What it does not say is
held for a person. The rules look at which paths changed, and at both versions of their files, tests and their
configuration first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from orchestrator.core.contents import find_keys, is_image, program_form
from orchestrator.core.diffstat import Change
from orchestrator.core.escapes import told_outside
from orchestrator.core.evidence_record import Evidence, Tampering
from orchestrator.core.globs import matches
from orchestrator.core.job import Area
from orchestrator.core.runners import about_tests, is_partly, is_wholly
from orchestrator.core.runs import lines_of_tests, lists_packages, may_run_tests, plugins_in
from orchestrator.core.suite_files import language_of
from orchestrator.core.suites import (
    NO_SUITE,
    Case,
    FlawKind,
    Pair,
    Suite,
    lost_assertions,
    new_flaws,
    pair_up,
)
from orchestrator.core.suites_grammars import GRAMMARS
from orchestrator.core.suites_python import PythonFile, count_assertions
from orchestrator.core.suites_text import TextFile
from orchestrator.core.transitions import one_line

VERSION = 4
"""Of these rules. Whoever proves a finding again must look with the same ones."""
MAX_BYTES = 200_000
"""The largest file that is looked into."""
MAX_ALL_BYTES = 2_000_000
"""The most that is looked into of one change, both versions together."""
MAX_BLOBS = 600
KEPT = 40
"""The most findings that a record lists."""
TOLD = 6
"""The most that a card lists."""
_SHOWN = 160

CI = (
    ".github/workflows/**", ".github/actions/**", ".gitlab-ci.yml", ".gitlab/ci/**", ".circleci/**", "jenkinsfile*",
    "azure-pipelines*.yml", ".azure-pipelines/**", "bitbucket-pipelines.yml", ".travis.yml", "appveyor.yml",
    ".appveyor.yml", ".buildkite/**", ".drone.yml", ".woodpecker.yml", ".woodpecker/**", ".cirrus.yml", ".ci/**",
    ".teamcity/**", "cloudbuild.yaml", "buildspec.yml", ".pre-commit-config.yaml", "lefthook.yml", ".husky/**",
    "codecov.yml", ".codecov.yml",
)  # fmt: skip
ORC = (
    "orc.yaml", "claude.md", "claude.local.md", "agents.md", "gemini.md", "qwen.md", "crush.md", "**/.claude/**",
    "**/.codex/**", "**/.gemini/**", "**/.cursor/**", ".cursorrules", ".mcp.json", "opencode.json", "**/.opencode/**",
    ".github/copilot-instructions.md", ".github/instructions/**", ".windsurfrules", "**/.windsurf/**",
    ".aider.conf.yml", "**/.clinerules/**", ".clinerules", "**/.roo/**", ".roorules", "**/.kiro/**",
    "**/.amazonq/**", "**/.junie/**",
    "**/.continue/**", "**/.trae/**", ".goosehints", ".crush.json",
)  # fmt: skip
STARTED = (".vscode/tasks.json", ".vscode/settings.json", ".envrc", ".devcontainer/**", ".idea/runconfigurations/**")
"""What editors and shells start by themselves when a folder is opened, as people do who look at work."""
ORC_FOLDERS = ("rules/**", "souls/**", "skills/**", "criteria/**", "queue/**", "schedules/**")
"""orc's own only in a repository that is a workspace of it: elsewhere these are words like any other."""


_BESIDE_TESTS = re.compile(r"(^|/)(tests?|testing)/[^\n]*\.py\Z|(^|/)conftest\.py\Z", re.S)
_EXECUTABLE = "100755"
_COMPILED = re.compile(r"\.(exe|dll|so|dylib|class|jar|war|pyc|pyd|o|obj|a|lib|wasm|node|bin|elf)\Z", re.I)
_IMAGE = re.compile(r"\.(png|jpe?g|gif|webp|bmp|ico|avif)\Z", re.I)
_LIKE_A_TEST = re.compile(
    r"(^|/)test[_-][^/]*\.\w+\Z|[^/][._-](test|tests|spec)\.\w+\Z|[^/]Tests?\.\w+\Z|\.snap\Z", re.I
)
_NO_TEST = re.compile(r"\.(md|rst|txt|adoc|json|ya?ml|toml|csv|lock)\Z", re.I)


@dataclass(frozen=True)
class Looked:
    """What the rules look at: the changes, and the content of what had to be read."""

    changes: tuple[Change, ...]
    blobs: Mapping[str, bytes]
    """By object id; what is too large, or one too many, is missing."""
    is_home: bool
    """Whether the repository is a workspace of orc."""
    deliverables: tuple[str, ...] = ()
    """Patterns of what the job is to make: of that somebody can see a preview."""

    def old(self, change: Change) -> bytes | None:
        """What a file held before; '' if there was none, None if it was not read."""
        return self.blobs.get(change.old_oid) if _is_file(change.old_mode) else b""

    def new(self, change: Change) -> bytes | None:
        """The same after the change. A link or another repository in its place is no file."""
        return self.blobs.get(change.new_oid) if _is_file(change.new_mode) else b""

    @cached_property
    def tests(self) -> tuple[Change, ...]:
        """The changed files that hold tests, but for those that are only somewhere else now."""
        return tuple(each for each in self.changes if language_of(each.path) and not _is_moved(each, self.moved))

    @cached_property
    def were(self) -> frozenset[tuple[str, str]]:
        """What the changed files were before: (blob, mode). A file that is somewhere else now brings nothing along."""
        return frozenset((each.old_oid, each.old_mode) for each in self.changes if _is_file(each.old_mode))

    @cached_property
    def moved(self) -> frozenset[tuple[str, str]]:
        """Whole files that went from one place to another where they are collected too: (language, blob)."""
        return _moves(self.changes)

    @cached_property
    def suites(self) -> dict[str, tuple[Suite, Suite]]:
        """What these files held and hold, by path, without the tests that stay as they are."""
        return {each.path: _read_both(each.path, self.old(each), self.new(each)) for each in self.tests}

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every test of these files, before and after. What cannot be read is told of by a rule of its own."""
        read = {path: both for path, both in self.suites.items() if not (both[0].problem or both[1].problem)}
        old, new = ({path: both[side] for path, both in read.items()} for side in (0, 1))
        return tuple(pair_up(old, new))


Found = tuple[str, int, str]
"""Path, line (0: the file), why."""


# --- tests --------------------------------------------------------------------------------------------------------


def tests_removed(looked: Looked) -> Iterator[Found]:
    """Tests that are nowhere any more. A renamed, moved or parametrised one is still there."""
    grown: dict[str, int] = {}
    for pair in looked.pairs:
        if pair.new is not None:
            # A new test that is run once is no other in a new form; one with parameters may be several.
            was = pair.old.size if pair.old else int(pair.new.size == 1)
            grown[pair.path] = grown.get(pair.path, 0) + pair.new.size - was
    gone: dict[str, list[tuple[int, str]]] = {}
    for pair in looked.pairs:
        if pair.new is None and pair.old is not None:
            gone.setdefault(pair.path, []).append((pair.old.line, pair.old.name))
    deleted = {each.path: each.old_oid for each in looked.changes if each.status == "D"}
    added = {each.new_oid: each.path for each in looked.changes if each.status == "A"}
    for path, tests in sorted(gone.items()):
        if len(tests) <= grown.get(path, 0):
            continue
        named = _some(name for _, name in sorted(tests))
        what = f"{len(tests)} test{'s' * (len(tests) > 1)}"
        if path not in deleted:
            yield path, min(tests)[0], f"{what} removed: {named}"
        elif deleted[path] in added:
            yield path, 0, f"moved to {added[deleted[path]]}, where no runner looks for tests ({what}: {named})"
        else:
            yield path, 0, f"deleted, and {what} with it: {named}"


def files_removed(looked: Looked) -> Iterator[Found]:
    """Test files of other languages, and kept results (snapshots), that are nowhere any more."""
    kept = {each.new_oid for each in looked.changes if each.status == "A" and _LIKE_A_TEST.search(each.path)}
    for each in looked.changes:
        like = _LIKE_A_TEST.search(each.path) and not _NO_TEST.search(each.path) and not language_of(each.path)
        if like and each.status == "D" and each.old_oid not in kept:
            yield each.path, 0, "deleted"


def parameters_removed(looked: Looked) -> Iterator[Found]:
    """Sets of parameters that a test is not run with any more."""
    for path, old, new in _both(looked):
        if new.size < old.size:
            yield path, new.line, f"`{new.name}` is run with {new.size} sets of parameters, not {old.size}"


def flaws_of(kind: FlawKind, told: str) -> Callable[[Looked], Iterator[Found]]:
    """The rule that looks for one kind of flaw that a test did not have before."""

    def rule(looked: Looked) -> Iterator[Found]:
        for pair in looked.pairs:
            if pair.new is None:
                continue
            known = pair.old.flaws if pair.old else ()
            for flaw in new_flaws(known, pair.new.flaws):
                if flaw.kind is kind and (pair.old is not None or flaw.firm):
                    yield pair.path, flaw.line, told.format(name=pair.new.name, text=flaw.text)
        deleted = {each.path for each in looked.tests if not _is_file(each.new_mode)}
        gone = [flaw for path in deleted for flaw in looked.suites[path][0].flaws]
        for each in looked.tests:
            is_new = not _is_file(each.old_mode)
            were = gone if is_new else looked.suites[each.path][0].flaws
            for flaw in new_flaws(were, looked.suites[each.path][1].flaws):
                if flaw.kind is kind and (flaw.firm or not is_new):
                    yield each.path, flaw.line, flaw.text

    return rule


def assertions_removed(looked: Looked) -> Iterator[Found]:
    """Tests that assert less than before, or something else than the code.

    One that asserts the same in fewer words does not count, nor what another test asserts in its place.
    """
    gained: Counter[str] = Counter()
    for pair in looked.pairs:
        if pair.new is not None:
            gained += Counter(pair.new.asserts) - Counter(pair.old.asserts if pair.old else ())
    for path, old, new in _both(looked):
        gone = Counter(lost_assertions(old, new))
        moved = gone & gained
        gained -= moved
        if lost := tuple((gone - moved).elements()):
            yield path, new.line, f"`{new.name}` asserts less than before; gone: {_some(lost, 2)}"
    for path, (was, now) in sorted(looked.suites.items()):
        for name in sorted(was.imports & now.makes - now.imports):
            yield path, 0, f"`{name}` is made by the test file itself now: it came from elsewhere before"
    yield from _helpers_emptied(looked)


def _helpers_emptied(looked: Looked) -> Iterator[Found]:
    """What stands beside tests and asserts less than before: tests call it."""
    for each in looked.changes:
        old, new = looked.old(each), looked.new(each)
        if each.status != "M" or not _BESIDE_TESTS.search(each.path) or language_of(each.path) or not (old and new):
            continue
        was, now = count_assertions(old), count_assertions(new)
        if was is not None and now is not None and now < was:
            yield each.path, 0, f"asserts less than before: {now} times, not {was}"


def tests_unread(looked: Looked) -> Iterator[Found]:
    """Test files that nobody can tell anything of."""
    for each in looked.tests:
        was, now = (suite.problem for suite in looked.suites[each.path])
        if (was or now) and each.status != "A":
            told = now or f"its old version {was}"
            yield each.path, 0, f"{told}, so nobody can say what became of its tests"


# --- how they are run ---------------------------------------------------------------------------------------------


def runner_touched(looked: Looked) -> Iterator[Found]:
    """The configuration of whatever runs the tests, and what measures how much they reach."""
    for each in looked.changes:
        if is_wholly(each.path):
            yield each.path, 0, f"how tests are run: {_way(each)}"
        elif is_partly(each.path):
            old, new = looked.old(each), looked.new(each)
            if old is None or new is None:
                yield each.path, 0, "is too large to be looked into"
                continue
            was, now = about_tests(each.path, old), about_tests(each.path, new)
            changed = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
            if changed:
                yield each.path, 0, f"how tests are run: {_some(changed)} {_way(each)}"
    yield from _scripts_touched(looked)
    yield from _plugins_added(looked)


def _scripts_touched(looked: Looked) -> Iterator[Found]:
    """Scripts that run tests no more, or in another way. What another script of the change runs now is only moved."""
    read = []
    for each in looked.changes:
        was, now = (lines_of_tests(each.path, data or b"") for data in (looked.old(each), looked.new(each)))
        if was[0] or now[0]:
            read.append((each.path, was, now))
    gained: Counter[str] = Counter()
    for _, was, now in read:
        gained.update(now[0] - was[0])
    for path, was, now in read:
        gone = was[0] - now[0]
        moved = gone & gained
        gained.subtract(moved)
        if lost := sorted(gone - moved):
            yield path, 0, f"how tests are run: not any more by {_some(lost, 2)}"
        elif was[0] and (stops := sorted(now[1] - was[1])):
            yield path, 0, f"how tests are run: what fails may be let go by {_some(stops, 2)}"


def _plugins_added(looked: Looked) -> Iterator[Found]:
    """Packages that plug into the runner: they may change what is run, and no line of them is in the change."""
    lists = [each for each in looked.changes if lists_packages(each.path)]
    known = {name for each in lists for name in plugins_in(looked.old(each) or b"")}
    for each in lists:
        if new := sorted(set(plugins_in(looked.new(each) or b"")) - known):
            yield each.path, 0, f"how tests are run: a plugin comes in: {_some(new)}"


# --- CI and orc ---------------------------------------------------------------------------------------------------


def ci_touched(looked: Looked) -> Iterator[Found]:
    """What the forge runs."""
    return ((each.path, 0, f"CI: {_way(each)}") for each in looked.changes if matches(each.path.lower(), CI))


def orc_touched(looked: Looked) -> Iterator[Found]:
    """What tells orc and the agents how to work, and what is started when somebody looks."""
    globs = (*ORC, *(ORC_FOLDERS if looked.is_home else ()))
    for each in looked.changes:
        if matches(each.path.lower(), globs):
            yield each.path, 0, f"what orc or its agents work by: {_way(each)}"
        elif matches(each.path.lower(), STARTED):
            yield each.path, 0, f"what an editor or a shell starts by itself: {_way(each)}"


# --- what no reviewer should have to find --------------------------------------------------------------------------


def keys_added(looked: Looked) -> Iterator[Found]:
    """Keys and tokens: once they are merged, they have to be taken for known to everybody."""
    for each in looked.changes:
        if new := looked.new(each):
            for line, what in find_keys(looked.old(each) or b"", new):
                yield each.path, line, f"looks like {what}"


def programs_added(looked: Looked) -> Iterator[Found]:
    """Compiled programs: the diff shows a reviewer their names alone."""
    for each in looked.changes:
        if how := _program(looked, each):
            yield each.path, 0, f"a compiled program ({how})"


def binaries_unseen(looked: Looked) -> Iterator[Found]:
    """Other binary files: nobody can approve what the diff does not show. An image can be looked at."""
    for each in looked.changes:
        is_shown = each.added is not None or not _is_file(each.new_mode)
        if is_shown or (each.new_oid, each.new_mode) in looked.were or _program(looked, each):
            continue
        new = looked.new(each)
        if _IMAGE.search(each.path) and (new is None or is_image(new)):
            continue
        if not matches(each.path, looked.deliverables):
            yield each.path, 0, f"a binary file, of which no line is shown: {_way(each)}"


def _program(looked: Looked, change: Change) -> str:
    """By what a changed file is known as a compiled program; '' if it is none, or was one elsewhere."""
    if (change.new_oid, change.new_mode) in looked.were:
        return ""
    new = looked.new(change)
    if new is not None and (form := program_form(new)):
        return form
    if change.added is not None or not _is_file(change.new_mode):
        return ""
    if change.new_mode == _EXECUTABLE:
        return "by its mode"
    return "by its name" if _COMPILED.search(change.path) else ""


RULES: Mapping[str, tuple[Area, Callable[[Looked], Iterator[Found]]]] = {
    "tests_removed": (Area.TESTS, tests_removed),
    "test_files_removed": (Area.TESTS, files_removed),
    "parameters_removed": (Area.TESTS, parameters_removed),
    "tests_skipped": (Area.TESTS, flaws_of(FlawKind.SKIPPED, "`{name}` is skipped, or may be: {text}")),
    "tests_emptied": (Area.TESTS, flaws_of(FlawKind.EMPTY, "`{name}`: {text}")),
    "tautologies": (Area.TESTS, flaws_of(FlawKind.TAUTOLOGY, "`{name}` asserts what is always so: {text}")),
    "assertions_swallowed": (Area.TESTS, flaws_of(FlawKind.SWALLOWED, "`{name}`: {text}")),
    "assertions_removed": (Area.TESTS, assertions_removed),
    "tests_unread": (Area.TESTS, tests_unread),
    "runner_touched": (Area.TESTS, runner_touched),
    "ci_touched": (Area.CI, ci_touched),
    "orc_touched": (Area.ORC, orc_touched),
    "keys_added": (Area.KEYS, keys_added),
    "programs_added": (Area.PROGRAMS, programs_added),
    "binaries_unseen": (Area.BINARIES, binaries_unseen),
}
"""Every rule by the name under which the ledger records what it found, and what a job allows to let it through."""


def blobs_to_read(changes: tuple[Change, ...]) -> tuple[str, ...]:
    """The objects that the rules look into, both versions of each file, in the order of the paths: not too many.

    Tests and what runs them come first, so that much of other things hides nothing of them.
    """
    moved, were = _moves(changes), {each.old_oid for each in changes}

    def rank(change: Change) -> int:
        if (language_of(change.path) and not _is_moved(change, moved)) or is_partly(change.path):
            return 0
        if may_run_tests(change.path) or lists_packages(change.path):
            return 0
        # What was there before, here or elsewhere, brings nothing along.
        return 2 if change.status == "D" or change.new_oid in were else 1

    wanted = sorted((each for each in changes if rank(each) < 2), key=rank)
    sides = [(each.old_oid, each.old_mode) for each in wanted], [(each.new_oid, each.new_mode) for each in wanted]
    both = [side for pair in zip(*sides, strict=True) for side in pair]
    return tuple(dict.fromkeys(oid for oid, mode in both if oid and _is_file(mode)))[:MAX_BLOBS]


def needs_home(changes: Iterable[Change]) -> bool:
    """Whether it matters if the repository is a workspace of orc."""
    return any(matches(each.path.lower(), ORC_FOLDERS) for each in changes)


def find_tampering(looked: Looked, allows: Iterable[Area]) -> tuple[Tampering, ...]:
    """Every finding of every rule; those that the job declares are marked so, and hold nothing up."""
    declared = frozenset(allows)
    return tuple(
        Tampering(name, path, _clean(text), line, area in declared)
        for name, (area, rule) in RULES.items()
        for path, line, text in rule(looked)
    )


def list_tampering(found: Iterable[Tampering]) -> tuple[Tampering, ...]:
    """The findings that a record lists: those that nobody declared come first.

    Of each thing and then of each rule one comes before all others, so that much of one hides no other.
    """
    seen: set[tuple[bool, str]] = set()
    ranked = []
    for each in found:
        keys = [(each.declared, RULES[each.rule][0].value), (each.declared, each.rule)]
        rank = next((rank for rank, key in enumerate(keys) if key not in seen), len(keys))
        seen.update(keys)
        ranked.append((each.declared, rank, each))
    return tuple(each for _, _, each in sorted(ranked, key=lambda one: one[:2])[:KEPT])


def held_for(evidence: Evidence) -> tuple[str, ...]:
    """What a person is to be told before the work goes on: a line for each finding that the job does not declare.

    What was done outside of the tree comes first: no job can declare it.
    """
    outside = _first(told_outside(evidence.escapes), 0, " outside of its own tree")
    told = [f"{_place(each)}: {each.text}" for each in evidence.tampering if not each.declared]
    # What is declared is listed last: if any of it is listed, all is that is not.
    hidden = evidence.more_tampering if len(told) == len(evidence.tampering) else 0
    return (*outside, *_first(told, hidden, ""))


def _first(told: list[str], hidden: int, where: str) -> tuple[str, ...]:
    more = len(told[TOLD:]) + hidden
    return (*told[:TOLD], f"… and {more} more{where}") if told and more else tuple(told)


# --- helpers ------------------------------------------------------------------------------------------------------


def _is_file(mode: str) -> bool:
    return mode.startswith("100")


def _moves(changes: Iterable[Change]) -> frozenset[tuple[str, str]]:
    gone = Counter((language_of(each.path), each.old_oid) for each in changes if each.status == "D" and each.old_oid)
    come = Counter((language_of(each.path), each.new_oid) for each in changes if each.status == "A" and each.new_oid)
    return frozenset(key for key, count in gone.items() if key[0] and count == come[key])


def _is_moved(change: Change, moved: frozenset[tuple[str, str]]) -> bool:
    oid = {"D": change.old_oid, "A": change.new_oid}.get(change.status, "")
    return (language_of(change.path), oid) in moved


def _read_both(path: str, old: bytes | None, new: bytes | None) -> tuple[Suite, Suite]:
    was, now = _open(path, old), _open(path, new)
    if isinstance(was, Suite) or isinstance(now, Suite):
        return was if isinstance(was, Suite) else was.suite(), now if isinstance(now, Suite) else now.suite()
    same = was.texts() & now.texts()
    return was.suite(same), now.suite(same)


def _open(path: str, data: bytes | None) -> PythonFile | TextFile | Suite:
    if data is None:
        return Suite(problem="is too large to be looked into")
    if not data.strip():
        return NO_SUITE
    language = language_of(path)
    return PythonFile(data) if language == "python" else TextFile(GRAMMARS[language], data)


def _both(looked: Looked) -> Iterator[tuple[str, Case, Case]]:
    """Where each test is that was there before and still is, as it was and as it is."""
    for pair in looked.pairs:
        if pair.old is not None and pair.new is not None:
            yield pair.path, pair.old, pair.new


def _way(change: Change) -> str:
    return {"A": "added", "D": "removed"}.get(change.status, "changed")


def _clean(text: str) -> str:
    """In one line that can be shown anywhere: some of it was written by an agent."""
    shown = one_line(text)
    return shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…"


def _place(found: Tampering) -> str:
    """Where it is; of a long path the end. A card has no room for more, and must not leave out what follows."""
    shown = one_line(found.place)
    return shown if len(shown) <= _SHOWN else f"…{shown[1 - _SHOWN :]}"


def _some(names: Iterable[str], limit: int = 4) -> str:
    listed = [name if len(name) <= 60 else f"{name[:59]}…" for name in names]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
