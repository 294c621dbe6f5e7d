"""Key claims: found in a report, refused without a place, and drawn by lot for the reviewer."""

from __future__ import annotations

import pytest
from builders import a_question, a_verdict, as_reply

from orchestrator.core.claims import choose_claims, claim_blocks, judge_claims, path_of
from orchestrator.core.criteria import ClaimRules
from orchestrator.core.evidence_record import Claim
from orchestrator.core.review import fixes_of
from orchestrator.core.review_record import ClaimResult, Verdict
from orchestrator.core.verdict import judge_reply

NOTHING: dict[str, int] = {}
LINES = {"data/a.csv": 10, "data": 0}
TREE = {"data", "data/a.csv", "the source", "."}
LIST = "claims:\n  - {id: c1, claim: It holds., locator: a.py:1}\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"# Report\n\n```yaml\n{LIST}```\n", [(4, LIST)]),
        (f"```\n{LIST}```\n", [(2, LIST)]),
        (f"~~~~ yml\n# a comment\n\n{LIST}~~~~\n", [(2, f"# a comment\n\n{LIST}")]),
        ("- item\n\n  ```yaml\n  claims: []\n  ```\n", [(4, "claims: []\n")]),
        (f"```yaml\n{LIST}```\n\n```yaml\n{LIST}```\n", [(2, LIST), (7, LIST)]),
        (f"```yaml\nother: 1\n{LIST}```\n", []),
        (f"```python\n{LIST}```\n", []),
        (f"```python\nx = 1\n```\n\n```yaml\n{LIST}```\n", [(6, LIST)]),
        (f"~~~sh\n```\n~~~\n```\n{LIST}```\n", [(5, LIST)]),
        (f"```YAML title=x\n---\n{LIST}```\n", [(2, f"---\n{LIST}")]),
        (f"```code``` in a line\n\n```\n{LIST}```\n", [(4, LIST)]),
        (f"```yaml\n{LIST}", []),
        (LIST, []),
    ],
)
def test_a_list_of_claims_is_a_fenced_block_that_begins_with_claims(text: str, found: list[tuple[int, str]]) -> None:
    assert list(claim_blocks(text)) == found


@pytest.mark.parametrize(
    ("locator", "rule"),
    [
        ("https://example.invalid/page", ""),
        ("https://example.invalid/page, section 3", ""),
        ("data/a.csv", ""),
        ("data/a.csv:10", ""),
        ("data/a.csv:2-4", ""),
        ("./data/a.csv:1", ""),
        ("data", ""),
        ("Knuth, TAOCP, vol. 2, p. 17", ""),
        ("10.1000/xyz123", ""),
        ("doi:10.1000/182, table 2", ""),
        ("RFC 9110, section 5", ""),
        ("", "missing_locator"),
        ("  ", "missing_locator"),
        ("https://nowhere", "dead_locator"),
        ("https://nowhere/", "dead_locator"),
        ("http://intranet/page", ""),
        ("https://[::1]/x", ""),
        ("http://[::1", "dead_locator"),
        ("data/gone.csv", "dead_locator"),
        ("gone.csv:3", "dead_locator"),
        ("data/a.csv:11", "dead_locator"),
        ("data/a.csv:0", "dead_locator"),
        ("../outside/a.csv", "dead_locator"),
        ("./gone/tool", "dead_locator"),
        ("data/gone", "dead_locator"),
        ("data/gone.Name", "dead_locator"),
        ("gone/a.py", "dead_locator"),
        (".github/workflows/gone.yml", "dead_locator"),
        ("v1.2/notes.md", "dead_locator"),
        ("example.org/a.csv:3", "dead_locator"),
        ("ISO/IEC-9899:2018", ""),
        ("hep-th/9901001", ""),
        ("net/http.Client", ""),
        ("docs.python.org/3/tutorial/floatingpoint.html", ""),
        ("raw.example.org/a/b/main.py", ""),
        ("math.fsum", ""),
        ("java.util.List", ""),
        ("the internet", "missing_locator"),
        ("Various online sources.", "missing_locator"),
        ("n/a", "missing_locator"),
        ("my own experience", "missing_locator"),
        ("-", "missing_locator"),
        ("the source", ""),
        ("the manual of sort", ""),
        ("Google Books, Meier, 1897", ""),
        ("\u7b97\u6cd5\u5bfc\u8bba", ""),
    ],
)
def test_a_claim_names_a_place_that_code_has_nothing_against(locator: str, rule: str) -> None:
    claim = Claim("c1", "It holds.", locator, "report.md", 7)
    found = judge_claims((claim,), broken=False, lines_of=LINES.get, tree=TREE)
    assert [(each.rule, each.place) for each in found] == ([(rule, "report.md:7")] if rule else [])


def test_a_report_without_claims_or_with_one_id_twice_is_refused() -> None:
    assert [each.rule for each in judge_claims((), broken=False, lines_of=NOTHING.get)] == ["missing_claims"]
    assert judge_claims((), broken=True, lines_of=NOTHING.get) == ()
    twice = (Claim("c1", "a", "b c"), Claim("c1", "d", "e f", "r.md", 3))
    assert [each.place for each in judge_claims(twice, broken=False, lines_of=NOTHING.get)] == ["r.md:3"]


def test_which_file_a_locator_names() -> None:
    assert path_of("src/./a.py:3") == "src/a.py"
    assert path_of("a.py#L3") == "a.py"
    assert path_of("chapter 3") == path_of("10.1000/182") == path_of("https://example.invalid/a.py") == ""


# --- the lot ---


def claims(count: int) -> tuple[Claim, ...]:
    return tuple(Claim(f"c{number}", "It holds.") for number in range(count))


@pytest.mark.parametrize(
    ("count", "chosen"), [(0, 0), (1, 1), (3, 3), (4, 3), (10, 3), (11, 4), (20, 6), (21, 7), (100, 30)]
)
def test_at_least_three_and_thirty_percent_are_looked_up_again(count: int, chosen: int) -> None:
    assert len(choose_claims(claims(count), ClaimRules(), "seed")) == chosen


def test_the_lot_is_the_same_for_one_seed_and_another_for_another() -> None:
    every = claims(20)
    drawn = {tuple(each.id for each in choose_claims(every, ClaimRules(), str(seed))) for seed in range(50)}
    assert choose_claims(every, ClaimRules(), "7") == choose_claims(every, ClaimRules(), "7")
    assert len(drawn) == 50
    assert {id_ for ids in drawn for id_ in ids} == {each.id for each in every}


def test_without_rules_nothing_is_looked_up() -> None:
    assert choose_claims(claims(5), None, "seed") == ()


# --- the verdict ---

ASKED = a_question(claims=("c1", "c2"))


def looked_up(**results: str) -> list[dict[str, str]]:
    return [{"id": id_, "result": result, "evidence": "it stands there"} for id_, result in results.items()]


def verdict(word: str = "APPROVED", **keys: object) -> str:
    return as_reply(a_verdict(word, **keys))


def test_an_approval_needs_each_named_claim_looked_up_exactly_once() -> None:
    good = judge_reply(verdict(claims=looked_up(c1="supported", c2="supported")), ASKED)
    assert (good.verdict, good.score) == (Verdict.APPROVED, 1.0)
    for given in ([], looked_up(c1="supported"), looked_up(c1="supported", c2="supported", c3="supported")):
        found = judge_reply(verdict(claims=given), ASKED)
        assert (found.verdict, found.why) == (
            Verdict.INCONCLUSIVE,
            "does not look up each claim that was named exactly once",
        )
    assert judge_reply(verdict(), ASKED).verdict is Verdict.INCONCLUSIVE
    assert judge_reply(verdict(claims=looked_up(c1="supported")), a_question()).verdict is Verdict.INCONCLUSIVE
    assert judge_reply(verdict(claims=[]), a_question()).verdict is Verdict.APPROVED


@pytest.mark.parametrize(
    "claim",
    [
        {"id": "c2", "result": "Supported", "evidence": "x"},
        {"id": "c2", "result": True, "evidence": "x"},
        {"id": "c2", "result": ["supported"], "evidence": "x"},
        {"id": 2, "result": "supported", "evidence": "x"},
        {"id": "c2", "result": "supported", "evidence": None},
        {"id": "c2", "result": "supported", "evidence": "x", "more": 1},
        {"id": "c2"},
        "c2",
    ],
)
def test_a_claim_of_another_form_makes_the_answer_unclear(claim: object) -> None:
    given = [*looked_up(c1="supported"), claim]
    assert judge_reply(verdict(claims=given), ASKED).why.startswith("has a claim of the wrong form")


def test_what_a_source_contradicts_is_never_approved_and_always_to_be_put_right() -> None:
    given = looked_up(c1="supported", c2="contradicted")
    found = judge_reply(verdict(claims=given), ASKED)
    assert (found.verdict, found.why) == (Verdict.INCONCLUSIVE, "approves although the source contradicts c2")
    asked = judge_reply(verdict("REVISE", claims=given), ASKED)
    assert asked.verdict is Verdict.REVISE
    assert [fix.problem for fix in fixes_of(asked)] == ["The source of the claim c2 says otherwise: it stands there"]


def test_a_claim_that_nobody_could_verify_counts_as_one_that_does_not_stand() -> None:
    found = judge_reply(verdict(claims=looked_up(c1="unverifiable", c2="unverifiable")), ASKED)
    assert found.why == "approves with a score of 0.71, below 0.80"
    one = judge_reply(verdict(claims=looked_up(c1="supported", c2="unverifiable")), ASKED)
    assert (one.verdict, one.score) == (Verdict.APPROVED, 0.8571)
    silent = [{"id": "c1", "result": "supported", "evidence": " "}, *looked_up(c2="supported")]
    assert judge_reply(verdict(claims=silent), ASKED).claims[0].result is ClaimResult.UNVERIFIABLE
    revised = judge_reply(verdict("REVISE", claims=silent), ASKED)
    assert "could not be verified" in fixes_of(revised)[0].problem
