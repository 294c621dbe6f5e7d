"""Triggers of skills: a search that takes too long is given up, and leaves nothing behind."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from orchestrator.adapters.library import scan_skills
from orchestrator.adapters.triggers import is_slow, search_trigger

EXPONENTIAL = r"(a+)+$"
HOSTILE = "a" * 60 + "b"


def test_a_search_that_would_take_for_ever_is_given_up() -> None:
    before = time.process_time()
    assert search_trigger(EXPONENTIAL, HOSTILE) == ""
    assert time.process_time() - before < 5
    assert search_trigger(r"\bfix(es|ed)?\b", "it fixed that") == "fixed"


def test_nothing_of_the_limit_is_left_afterwards() -> None:
    before = signal.getsignal(signal.SIGVTALRM)
    search_trigger(EXPONENTIAL, HOSTILE)
    search_trigger("a", "a")
    assert signal.getsignal(signal.SIGVTALRM) is before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_in_another_thread_there_is_a_search_too() -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(search_trigger("b+", "abbc")))
    thread.start()
    thread.join()
    assert found == ["bb"]


@pytest.mark.parametrize("pattern", [EXPONENTIAL, r"(\w+\s?)*:", r"\s*\s*\s*x", r"(?:lo|l|o)+gin"])
def test_a_slow_trigger_is_found_before_it_is_met(pattern: str) -> None:
    assert is_slow(pattern)


@pytest.mark.parametrize("pattern", [r"(?i)\bcommit(s|ted|ting)?\b|\bchangelog\b", r"orders\s+and\s+invoices", "x"])
def test_ordinary_triggers_are_quick(pattern: str) -> None:
    assert not is_slow(pattern)


def test_the_triggers_of_this_repository_are_quick() -> None:
    from pathlib import Path

    skills = scan_skills(Path(__file__).resolve().parents[2]).all_good()
    assert skills
    assert [name for name, skill in skills.items() if is_slow(skill.trigger)] == []
