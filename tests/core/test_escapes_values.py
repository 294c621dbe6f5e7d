"""What counts as an escape, and how it is told: values only."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builders import a_job, evidence_of

from orchestrator.core.attempt_record import Attempt, Escape
from orchestrator.core.escapes import (
    KEPT,
    SHOWN,
    Settings,
    changed_files,
    changed_settings,
    escapes_of,
    list_escapes,
    told_outside,
)
from orchestrator.core.evidence_record import Tampering
from orchestrator.core.job import Worker
from orchestrator.core.tamper import TOLD, held_for

ORIGIN: Settings = {"remote.origin.url": ("https://example.org/a",), "core.bare": ("false",)}


@pytest.mark.parametrize(
    "key",
    [
        "branch.idea.remote",
        "branch.a.b.merge",
        "remote.friend.url",
        "remote.origin.fetch",
        "user.email",
        "pull.rebase",
        "submodule.lib.url",
        "core.sparsecheckoutcone",
        "lfs.https://example.org/a.access",
    ],
)
def test_what_git_writes_when_people_work_is_nothing_to_tell_of(key: str) -> None:
    assert list(changed_settings(ORIGIN, {**ORIGIN, key: ("x",)})) == []


@pytest.mark.parametrize(
    "key",
    [
        "core.hookspath",
        "core.fsmonitor",
        "core.sshcommand",
        "filter.x.smudge",
        "alias.st",
        "include.path",
        "url.https://example.org/.insteadof",
        "credential.helper",
        "remote.friend.uploadpack",
        "remote.friend.vcs",
        "submodule.lib.update",
        "gpg.program",
        "something.new",
    ],
)
def test_what_git_runs_or_reads_by_is_told_without_its_value(key: str) -> None:
    assert list(changed_settings(ORIGIN, {**ORIGIN, key: ("token",)})) == [f"{key} is set"]


def test_the_address_of_a_remote_that_was_there_is_told_and_a_remote_that_goes_is_not() -> None:
    assert list(changed_settings(ORIGIN, {**ORIGIN, "remote.origin.url": ("evil",)})) == [
        "remote.origin.url is changed"
    ]
    assert list(changed_settings(ORIGIN, {"core.bare": ("false",)})) == []
    assert list(changed_settings({**ORIGIN, "core.pager": ("cat",)}, ORIGIN)) == ["core.pager is removed"]


def test_each_file_that_differs_is_told() -> None:
    told = list(changed_files({"a": "1", "b": "1", "c": "1"}, {"b": "2", "c": "1", "d": "1"}))
    assert told == [("a", "removed"), ("b", "changed"), ("d", "made")]


def test_much_of_one_rule_is_counted_and_hides_no_other() -> None:
    many = [Escape("checkout_touched", f"{number}.py", "copied") for number in range(KEPT + 3)]
    listed = list_escapes([*many, Escape("config_touched", "x" * 999, "made\n\x1b[31mnow")], attempt=2)
    assert [each.rule for each in listed].count("checkout_touched") == KEPT + 1
    assert (listed[KEPT].place, listed[KEPT].text) == ("elsewhere", "3 more")
    assert (len(listed[-1].place), listed[-1].text) == (SHOWN, "made \ufffd[31mnow")
    assert {each.attempt for each in listed} == {2}


def test_escapes_come_before_all_else_that_is_held_and_stay_with_later_attempts() -> None:
    hook = Escape("config_touched", ".git/hooks/pre-push", "made while it ran", 1)
    first = Attempt(1, Worker("ada"), "base", "run", "now", escapes=(hook,), escape_rules=1)
    second = replace(first, number=2, escapes=(replace(hook, attempt=2),))
    gone = Tampering("tests_removed", "test_a.py", "deleted")
    evidence = evidence_of(a_job(), tampering=(gone,), escapes=escapes_of((first, second)))
    line = "outside of its own tree: .git/hooks/pre-push: made while it ran"
    assert held_for(evidence) == (line, "test_a.py: deleted")
    many = tuple(replace(hook, place=str(number)) for number in range(TOLD + 2))
    held = held_for(replace(evidence, escapes=many))
    assert held[TOLD:] == ("… and 2 more outside of its own tree", "test_a.py: deleted")
    assert told_outside(()) == []
