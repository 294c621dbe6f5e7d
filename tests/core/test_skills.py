"""Which skills go into a prompt, which of them whole; and what makes two agents sound alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import orchestrator
from orchestrator.adapters.library import read_souls
from orchestrator.core.agent import ALIKE, Skill, Soul, compare_voices, lint_soul, lint_voices
from orchestrator.core.skills import (
    BUDGET_TOKENS,
    MOST_TRIGGERED,
    SEARCHED_CHARACTERS,
    Chosen,
    choose_skills,
    longest_match,
    skill_of_path,
    skill_path,
    split_pin,
)
from orchestrator.errors import NotFoundError

SECTIONS = "## Values\nCare.\n## Voice\n{}\n## Boundaries\nNever lie.\n"


def a_skill(name: str, *, trigger: str = "", body: str = "Do it.", blob: str = "") -> Skill:
    return Skill(name=name, description=f"About {name}.", metadata={"trigger": trigger}, body=body, blob=blob)


def shelf(*skills: Skill) -> dict[str, Skill]:
    return {each.name: each for each in skills}


def choose(
    known: Mapping[str, Skill],
    *wanted: str,
    brought: tuple[str, ...] = (),
    text: str = "",
    budget: int = BUDGET_TOKENS,
) -> dict[str, Chosen]:
    chosen = choose_skills(known, wanted=wanted, brought=brought, text=text, budget_tokens=budget)
    assert [each.skill.name for each in chosen] == sorted(each.skill.name for each in chosen)
    return {each.skill.name: each for each in chosen}


def test_each_skill_says_why_it_is_there() -> None:
    known = shelf(a_skill("mine"), a_skill("yours"), a_skill("seen", trigger="(?i)refactor"), a_skill("other"))
    found = choose(known, "yours", brought=("mine", "yours"), text="Please Refactor it")
    assert {name: each.why for name, each in found.items()} == {
        "mine": "the agent's own",
        "yours": "asked for",
        "seen": 'triggered by "Refactor"',
    }
    assert all(each.whole for each in found.values())


def test_a_skill_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(NotFoundError, match="'nothing'"):
        choose({}, "nothing")


def test_of_the_triggered_skills_the_most_specific_are_taken_and_ties_go_by_name() -> None:
    known = shelf(
        a_skill("b", trigger="fix"), a_skill("c", trigger="log"), a_skill("a", trigger="fix"),
        a_skill("long", trigger="fix the login"), a_skill("never", trigger="cake"),
    )  # fmt: skip
    found = choose(known, text="fix the login")
    assert list(found) == ["a", "b", "long"]
    assert len(found) == MOST_TRIGGERED


def test_the_longest_of_several_matches_counts() -> None:
    assert longest_match("a+", "a aaa aa") == "aaa"
    assert longest_match("x*", "none") == ""


def test_a_trigger_that_matches_nothing_at_all_everywhere_triggers_nothing() -> None:
    assert choose(shelf(a_skill("a", trigger="x*")), text="plain") == {}


def test_what_is_there_already_takes_no_place_of_a_triggered_one() -> None:
    known = shelf(*(a_skill(name, trigger=name) for name in ("one", "two", "three", "four")))
    assert len(choose(known, "one", text="one two three four")) == 4


def test_only_the_beginning_of_a_task_is_searched() -> None:
    known = shelf(a_skill("late", trigger="needle"))
    assert choose(known, text="x" * (SEARCHED_CHARACTERS - 6) + "needle")
    assert not choose(known, text="x" * (SEARCHED_CHARACTERS - 5) + "needle")


def test_what_is_shown_of_a_match_is_one_short_line() -> None:
    (found,) = choose(shelf(a_skill("a", trigger="(?s)begin.*")), text="begin\n" + "z" * 500).values()
    assert "\n" not in found.why
    assert len(found.why) < 70


def test_the_search_can_be_replaced_by_one_that_gives_up() -> None:
    known = shelf(a_skill("slow", trigger="(a+)+$"))
    assert choose_skills(known, wanted=(), brought=(), text="a" * 40 + "b", search=lambda *_: "") == ()


def test_a_pin_asks_for_that_version_and_the_jobs_goes_before_the_agents() -> None:
    known = {**shelf(a_skill("tidy", blob="f" * 40)), "tidy@aaaaaaaa": a_skill("tidy", body="Old.", blob="a" * 40)}
    assert choose(known, brought=("tidy@aaaaaaaa",))["tidy"].skill.body == "Old."
    assert choose(known, "tidy@aaaaaaaa", brought=("tidy",))["tidy"].skill.blob == "a" * 40
    assert choose(known, "tidy", brought=("tidy@aaaaaaaa",))["tidy"].skill.blob == "f" * 40
    with pytest.raises(NotFoundError):
        choose(known, "tidy@bbbbbbbb")


def test_a_pinned_version_is_not_triggered_beside_the_newest() -> None:
    known = {**shelf(a_skill("tidy", trigger="tidy")), "tidy@aaaaaaaa": a_skill("tidy", trigger="tidy", body="Old.")}
    (found,) = choose(known, text="tidy up").values()
    assert found.skill.body == "Do it."


def test_over_budget_triggered_bodies_go_first_and_those_asked_for_last() -> None:
    body = "x" * 4_000
    known = shelf(
        a_skill("asked", body=body), a_skill("own", body=body), a_skill("vague", trigger="fix", body=body),
        a_skill("exact", trigger="fix the", body=body),
    )  # fmt: skip

    def whole(budget: int) -> set[str]:
        found = choose(known, "asked", brought=("own",), text="fix the bug", budget=budget)
        assert len(found) == 4
        return {name for name, each in found.items() if each.whole}

    assert whole(4_000) == {"asked", "own", "exact", "vague"}
    assert whole(3_999) == {"asked", "own", "exact"}
    assert whole(2_999) == {"asked", "own"}
    assert whole(1_999) == {"asked"}
    assert whole(10) == set()


def test_a_short_body_is_not_given_up_for_a_longer_description() -> None:
    (found,) = choose(shelf(a_skill("tiny", body="Do.")), "tiny", budget=0).values()
    assert found.whole


@given(
    sizes=st.lists(st.tuples(st.integers(0, 9_000), st.sampled_from(["", "go"])), max_size=8),
    asked=st.integers(0, 8),
    own=st.integers(0, 8),
    budget=st.integers(0, 8_000),
)
def test_nothing_that_would_fit_is_asked_for_in_vain_and_the_budget_holds(
    sizes: list[tuple[int, str]], asked: int, own: int, budget: int
) -> None:
    known = shelf(*(a_skill(f"s{at}", body="y" * size, trigger=trigger) for at, (size, trigger) in enumerate(sizes)))
    names = list(known)
    found = choose(known, *names[:asked], brought=tuple(names[-own:] if own else ()), text="go", budget=budget)
    assert {*names[:asked], *(names[-own:] if own else ())} <= set(found)
    total = sum(each.tokens for each in found.values())
    assert total <= budget or all(not each.whole or len(each.skill.body) < 100 for each in found.values())


def test_names_paths_and_pins_are_told_apart() -> None:
    assert split_pin("tidy@0123abcd") == ("tidy", "0123abcd")
    assert split_pin("tidy") == ("tidy", "")
    assert skill_of_path(skill_path("tidy")) == "tidy"
    assert skill_of_path("souls/ada.md") == ""
    assert skill_of_path("skills/a/b/SKILL.md") == ""


# --- souls ---


def a_soul(name: str, voice: str = "", *, body: str = "", **tag: str) -> Soul:
    return Soul(name=name, backend="claude", voice=tag, body=body or SECTIONS.format(voice))


def test_agents_with_the_same_words_sound_alike_in_whatever_order() -> None:
    ada, ben = a_soul("ada", "Calm and exact.", tag="Speaks low."), a_soul("ben", "Exact, and CALM!", tag="Low speaks")
    assert lint_voices([ben, ada, a_soul("cleo", "Loud.")]) == (("ada", "ben", 1.0),)


def test_agents_without_a_voice_do_not_sound_alike() -> None:
    assert compare_voices([a_soul("ada", body="x"), a_soul("ben", body="x"), a_soul("cleo", "Loud.")]) == {}


def test_who_says_the_same_in_other_words_is_told_and_who_has_a_trait_in_common_is_not() -> None:
    calm = "Calm and exact. Names the one thing that could still be wrong."
    first = a_soul("ada", calm)
    others = [a_soul("eve", "Dry and fair. Quotes the line before judging it."), a_soul("fay", "Calm, and jokes once.")]
    again = a_soul("ben", "Calm, exact, and names the one thing which might still be wrong.")
    assert [(a, b) for a, b, _ in lint_voices([first, again, *others])] == [("ada", "ben")]
    assert lint_voices([first, *others]) == ()


def test_who_says_the_same_under_another_name_or_far_down_sounds_alike() -> None:
    same = {"tone": "Calm.", "directive": f"{'Weigh each word. ' * 40}Then sing of moths and lamps."}
    ada, ben = a_soul("ada", "Low.", **same), a_soul("ben", "Low.", **same)
    assert lint_voices([ada, ben]) == (("ada", "ben", 1.0),)
    other = {**same, "directive": f"{'Weigh each word. ' * 40}Else quote ships, tides, ropes, tar."}
    assert lint_voices([ada, a_soul("ben", "Low.", **other)]) == ()


def test_words_that_all_have_in_common_make_nobody_alike() -> None:
    house = "Writes plain short English, without slang."
    own = (
        "Quotes the line first.",
        "Doubts every number.",
        "Jokes about moths.",
        "Asks what breaks.",
        "Names its source.",
    )
    souls = [a_soul(f"agent-{at}", f"{house} {each}") for at, each in enumerate(own)]
    assert lint_voices(souls) == ()
    assert lint_voices([*souls, a_soul("twin", f"{house} {own[0]}")]) == (("agent-0", "twin", 1.0),)


def test_the_souls_that_orc_brings_can_be_told_apart() -> None:
    souls, problems = read_souls(Path(orchestrator.__file__).parent / "starter")
    assert problems == []
    assert max(compare_voices(souls.values()).values()) < ALIKE / 2


@pytest.mark.parametrize(
    ("body", "is_model", "told"),
    [
        (SECTIONS.format("Low."), True, ()),
        ("You sort.", False, ()),
        ("You sort.", True, ("has no section Values, Voice and Boundaries",)),
        ("## Values\nCare.\n## Voice\nLow.", False, ("has no section Boundaries",)),
        ("## Values\n## Voice\nLow.\n## Boundaries\nNo.", True, ("has no section Values",)),
    ],
)
def test_a_soul_should_have_its_sections(body: str, is_model: bool, told: tuple[str, ...]) -> None:
    assert lint_soul(a_soul("ada", body=body), is_model=is_model) == told


def test_a_voice_that_would_be_cut_is_told() -> None:
    assert lint_soul(a_soul("ada", "Low.", directive="Speak. " * 100), is_model=True) == (
        "has a voice of 712 characters, of which only 500 fit into each message: "
        "the rest of its directive is in the system prompt alone",
    )
