"""One job of each kind through the real engine: what its criteria refuse, what passes, and what is proved."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import audit_world as w
import pytest
from engine_world import CHECK, World, attempt, git
from spelling_helpers import list_in_front

from orchestrator.adapters.audit import audit
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_refs import rev_parse
from orchestrator.adapters.ledger import REF
from orchestrator.adapters.objects import FILE_MODE, Entry
from orchestrator.adapters.spelling import known_misspellings
from orchestrator.core import kinds
from orchestrator.core.claims import claims_asked
from orchestrator.core.criteria import unknown_kind
from orchestrator.core.job import State
from orchestrator.core.records import CardKind
from orchestrator.core.review_record import ClaimResult, Verdict
from orchestrator.engine.workspace import open_workspace

NEEDS_LIST = pytest.mark.skipif(known_misspellings() is None, reason="codespell is not installed")
PASSAGE = (
    "The number of a form is written on its first page, in the upper corner on the right, and nobody may change it "
    "once the form has been handed in at the counter."
)
CLAIMS = [
    {"id": f"c{number}", "claim": f"Fact {number} holds.", "locator": f"data/facts.txt:{number}"}
    for number in range(1, 6)
]


def list_of(claims: list[dict[str, str]]) -> str:
    lines = [f"  - {{id: {each['id']}, claim: {each['claim']}, locator: '{each['locator']}'}}" for each in claims]
    return "\n".join(["```yaml", "claims:", *lines, "```", ""])


@pytest.fixture
def world(tmp_path: Path) -> World:
    begin(tmp_path / "work")
    return World(tmp_path / "work")


def begin(root: Path) -> None:
    """A repository with some facts and a guide that has a mistake."""
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / "data").mkdir()
    (root / "data" / "facts.txt").write_text("".join(f"fact {number}\n" for number in range(1, 6)))
    (root / "guide.md").write_text("# Guide\n\nTeh old text has its mistakes.\n")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "begin")


def play(world: World, *plays: dict[str, Any]) -> None:
    world.plays = list(plays)
    world.set_up()


def proved(world: World) -> None:
    """`orc verify` has nothing against any step."""
    report = audit(world.root / ".git", {"main": world.root / ".git"})
    assert (report.lies, report.unverifiable) == ((), ())


def refusals(world: World, name: str, number: int = 1) -> dict[str, str]:
    """Place of each refusal by its rule."""
    return {each.rule: each.place for each in world.records(name)[f"evidence-{number}"].failures}


def test_code_is_checked_by_the_engine_and_then_reviewed(world: World) -> None:
    play(world, attempt(1, write={"app.py": "print(1)\n", "broken": "x\n"}), attempt(2, delete=["broken"]))
    world.drop("code.yaml", "prompt: write it\nkind: code\n")
    world.run()
    records = world.records("code")
    assert world.state("code") is State.DONE
    assert [records[f"evidence-{number}"].tests for number in (1, 2)] == ["failed", "passed"]
    assert records["review-1"].verdict is Verdict.APPROVED
    assert records["evidence-2"].criteria.name == "criteria/code.yaml"
    proved(world)


def test_writing_that_repeats_itself_or_links_to_nothing_comes_back_with_the_places(world: World) -> None:
    repeated = f"# Forms\n\n{PASSAGE}\n\nSee [the rules](rules.md).\n\n{PASSAGE}\n"
    play(
        world,
        attempt(1, write={"forms.md": repeated}),
        attempt(2, write={"forms.md": f"# Forms\n\n{PASSAGE}\n\nSee [the guide](guide.md#guide).\n"}),
    )
    world.drop("forms.md", "---\nkind: writing\ndeliverables: [forms.md]\n---\nDescribe the forms.\n")
    world.run()
    assert refusals(world, "forms") == {"duplicate_passage": "forms.md:7", "dead_link": "forms.md:5"}
    asked = world.records("forms")["attempt-2"].fixes
    assert {(fix.file, fix.line) for fix in asked} == {("forms.md", 7), ("forms.md", 5)}
    assert world.state("forms") is State.DONE
    (preview,) = world.records("forms")["evidence-2"].previews
    assert preview.text.splitlines()[0] == "# Forms"
    proved(world)


def test_spelling_that_could_not_be_checked_is_said_in_the_evidence(world: World, tmp_path: Path) -> None:
    play(world, attempt(1, append={"guide.md": "\nThe form is then recieved by the clerk, and that is all.\n"}))
    world.drop("guide.yaml", "prompt: go on with the guide\nkind: writing\n")
    with list_in_front(tmp_path / "packages", None):
        world.run()
        evidence = world.records("guide")["evidence-1"]
        assert evidence.failures == ()
        assert any("the spelling was not checked" in note for note in evidence.notes)
        proved(world)


@NEEDS_LIST
def test_only_misspellings_that_the_change_added_are_refused(world: World) -> None:
    play(
        world,
        attempt(1, append={"guide.md": "\nThe form is then recieved by the clerk, and that is all.\n"}),
        attempt(2, write={"guide.md": "# Guide\n\nTeh old text has its mistakes.\n\nThe form is received.\n"}),
    )
    world.drop("guide.yaml", "prompt: go on with the guide\nkind: writing\n")
    world.run()
    (failure,) = world.records("guide")["evidence-1"].failures
    assert (failure.rule, failure.place) == ("misspelling", "guide.md:5")
    assert "“recieved” is misspelled; right would be: received" in failure.text
    assert world.state("guide") is State.DONE
    assert world.records("guide")["evidence-2"].speller.startswith("codespell ")
    proved(world)


def test_the_workspaces_own_criteria_stand_in_for_the_shipped_ones(world: World) -> None:
    play(world, attempt(1, write={"guide.md": "# Guide\n\nToo short.\n"}), attempt(2, write={"guide.md": PASSAGE}))
    (world.root / "criteria").mkdir()
    (world.root / "criteria" / "writing.yaml").write_text(
        "threshold: 1\nchecks:\n  length: {min_words: 20}\nitems:\n  - {id: fits, question: Does it fit?}\n"
    )
    world.drop("guide.yaml", "prompt: write the guide anew\nkind: writing\n")
    world.run()
    records = world.records("guide")
    assert [each.rule for each in records["evidence-1"].failures] == ["length"]
    assert (records["review-1"].items_asked, records["review-1"].threshold) == (("fits",), 1.0)
    assert world.state("guide") is State.DONE
    with open_workspace(world.root) as ws:
        kept = ws.ledger.folder(world.id("guide")).records["evidence-2.criteria"]
        assert ws.ledger.objects.read(kept) == (world.root / "criteria" / "writing.yaml").read_bytes()
        assert kept == records["evidence-2"].criteria.blob
    proved(world)


def test_research_without_its_claims_or_their_places_is_not_reviewed(world: World) -> None:
    nowhere = [{**CLAIMS[0], "locator": ""}, {**CLAIMS[1], "locator": "data/facts.txt:9"}]
    play(
        world,
        attempt(1, write={"report.md": "# Report\n\nAll facts hold.\n"}),
        attempt(2, write={"report.md": f"# Report\n\nAll facts hold.\n\n{list_of(nowhere)}"}),
        attempt(3, write={"report.md": f"# Report\n\nAll facts hold.\n\n{list_of(CLAIMS)}"}),
    )
    world.drop("facts.yaml", "prompt: look into the facts\nkind: research\ndeliverables: [report.md]\n")
    world.run()
    assert set(refusals(world, "facts")) == {"missing_claims"}
    assert refusals(world, "facts", 2) == {"missing_locator": "report.md:7", "dead_locator": "report.md:8"}
    assert world.state("facts") is State.DONE
    records = world.records("facts")
    asked = claims_asked(records["evidence-3"], records["review-1"].draw)
    assert [each.id for each in records["review-1"].claims] == [each.id for each in asked]
    assert len(asked) == 3
    assert {each.result for each in records["review-1"].claims} == {ClaimResult.SUPPORTED}
    proved(world)


def test_a_claim_that_its_source_contradicts_sends_research_back(world: World) -> None:
    claims = CLAIMS[:3]
    wrong = {"match": {"kind": "review", "number": 1}, "verdict": "REVISE", "claims": {"c2": "contradicted"}}
    report = f"# Report\n\nAll facts hold.\n\n{list_of(claims)}"
    play(
        world,
        attempt(1, write={"report.md": report}),
        attempt(2, write={"report.md": report.replace("Fact 2 holds", "Fact 2 does not hold")}),
        wrong,
    )
    world.drop("facts.yaml", "prompt: look into the facts\nkind: research\n")
    world.run()
    (fix,) = world.records("facts")["attempt-2"].fixes
    assert fix.problem.startswith("The source of the claim c2 says otherwise")
    assert world.state("facts") is State.DONE
    proved(world)


def test_no_reviewer_can_approve_what_a_source_contradicts(world: World) -> None:
    careless = {"match": {"kind": "review"}, "verdict": "APPROVED", "claims": {"c1": "contradicted"}}
    play(world, attempt(1, write={"report.md": f"# Report\n\n{list_of(CLAIMS[:1])}"}), careless)
    world.souls["cid"] = "gamma review"
    world.set_up()
    world.drop("facts.yaml", "prompt: look into the facts\nkind: research\n")
    world.run()
    assert world.card("facts").kind is CardKind.UNCLEAR
    assert "approves although the source contradicts c1" in world.records("facts")["review-1"].why
    proved(world)


def test_a_report_that_changes_nothing_lists_its_claims_too_and_can_be_seen(world: World) -> None:
    play(world, attempt(1, say="It is the index."), attempt(2, say=f"It is the index.\n\n{list_of(CLAIMS[:1])}"))
    world.drop("why.yaml", "prompt: find out why\nkind: research\nexpects: no_change\n")
    world.run()
    assert set(refusals(world, "why")) >= {"missing_claims"}
    assert world.state("why") is State.DONE
    (preview,) = world.records("why")["evidence-2"].previews
    assert (preview.path, preview.text.splitlines()[0]) == ("", "It is the index.")
    proved(world)


def test_ops_work_without_a_check_command_is_not_taken_in(world: World) -> None:
    play(world, attempt(write={"deploy.sh": "echo done\n"}))
    world.drop("bare.yaml", "prompt: deploy it\nkind: ops\nchecks: []\n")
    world.drop("proved.yaml", f"prompt: deploy it\nkind: ops\nchecks: ['{CHECK}']\n")
    world.run()
    (reason,) = (world.root / "queue" / "rejected").rglob("*.txt")
    assert "proved by a check command" in reason.read_text()
    assert world.records("proved")["evidence-1"].checks[0].run == CHECK
    assert world.state("proved") is State.DONE
    proved(world)


def test_a_binary_deliverable_comes_with_something_that_can_be_seen(world: World) -> None:
    play(
        world,
        attempt(1, run="printf 'PK\\003\\004\\000\\001' > report.docx"),
        attempt(2, write={"report.docx.preview.md": "# Report\n\nSales rose.\n"}),
    )
    world.drop("report.yaml", "prompt: make the report\nkind: writing\ndeliverables: [report.docx]\n")
    world.run()
    assert refusals(world, "report") == {"not_viewable": "report.docx"}
    assert world.state("report") is State.DONE
    shown = world.records("report")["evidence-2"].previews
    assert [(each.path, each.about) for each in shown] == [
        ("report.docx", "zip archive or office document, 6 bytes"),
        ("report.docx.preview.md", "text, 3 lines"),
    ]
    assert shown[1].text.splitlines()[-1] == "Sales rose."
    proved(world)


def test_a_preview_that_was_there_before_is_shown_with_the_new_version_of_its_deliverable(world: World) -> None:
    (world.root / "report.docx.preview.md").write_text("# Report\n\nSales rose.\n")
    git(world.root, "add", "-A")
    git(world.root, "commit", "-q", "-m", "preview")
    play(world, attempt(1, run="printf 'PK\\003\\004\\000\\001' > report.docx"))
    world.drop("report.yaml", "prompt: make the report\nkind: writing\ndeliverables: [report.docx]\n")
    world.run()
    shown = world.records("report")["evidence-1"].previews
    assert [(each.path, each.line, each.text.splitlines()[:1]) for each in shown] == [
        ("report.docx", 0, []),
        ("report.docx.preview.md", 1, ["# Report"]),
    ]
    proved(world)


# --- proving it ---

FORGERIES = {
    "a refusal left out": ("evidence", "evidence-1.yaml", "rule: missing_locator", "rule: length"),
    "a demand left out": ("evidence", "evidence-1.yaml", "  viewable: true\n", "  viewable: false\n"),
    "another place": ("evidence", "evidence-1.yaml", "line: 7", "line: 8"),
    "another claim": ("evidence", "evidence-2.yaml", "Fact 2 holds.", "Fact 2 is sure."),
    "another preview": ("evidence", "evidence-2.yaml", "All facts hold.", "Nothing holds."),
    "fewer claims to look up": ("verdict", "evidence-2.yaml", "claims: {}", "claims: {least: 1}"),
    "another draw": ("review", "review-1.yaml", "\ndraw: ", "\n# draw: "),
    "another result": ("verdict", "review-1.yaml", "result: supported", "result: unverifiable"),
}
"""Which rule finds it out, and what is changed in which file."""


def _swap(draft: w.Draft, name: str, old: str, new: str) -> None:
    for path, entry in list(draft.changes.items()):
        text = draft.objects.read(entry.oid).decode() if entry and path.endswith(f"/{name}") else ""
        if old in text and new not in text:
            draft.changes[path] = Entry(FILE_MODE, draft.objects.write("blob", text.replace(old, new, 1).encode()))


@pytest.fixture(scope="module")
def researched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world in which a research job came back once and was done then."""
    root = tmp_path_factory.mktemp("researched") / "work"
    begin(root)
    world = World(root)
    report = "# Report\n\nAll facts hold.\n\n"
    play(
        world,
        attempt(1, write={"report.md": report + list_of([{**CLAIMS[0], "locator": ""}])}),
        attempt(2, write={"report.md": report + list_of(CLAIMS)}),
    )
    world.drop("facts.yaml", "prompt: look into the facts\nkind: research\n")
    world.run()
    assert world.state("facts") is State.DONE
    return root


@pytest.mark.parametrize("name", FORGERIES)
def test_what_the_criteria_came_to_cannot_be_forged(researched: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "forged"
    shutil.copytree(researched, root)
    rule, file, old, new = FORGERIES[name]
    before = rev_parse(Git(root / ".git"), REF)
    w.forge(root, lambda draft: _swap(draft, file, old, new))
    assert rev_parse(Git(root / ".git"), REF) != before
    assert rule in {lie.rule for lie in w.verify(root).lies}


def test_spelling_that_was_checked_with_another_list_is_a_doubt_and_no_lie(researched: Path, tmp_path: Path) -> None:
    root = tmp_path / "other"
    shutil.copytree(researched, root)
    w.forge(root, lambda draft: _swap(draft, "evidence-2.yaml", "kind_checks:", "speller: codespell 0.1\nkind_checks:"))
    report = w.verify(root)
    assert report.lies == ()
    assert [doubt.text for doubt in report.unverifiable] == [
        "the spelling was checked with codespell 0.1, which is not installed"
    ]


def test_what_other_rules_for_its_kind_found_is_a_doubt_and_no_lie(researched: Path, tmp_path: Path) -> None:
    root = tmp_path / "other"
    shutil.copytree(researched, root)
    w.forge(root, lambda draft: _swap(draft, "evidence-2.yaml", f"kind_rules: {kinds.VERSION}", "kind_rules: 99"))
    report = w.verify(root)
    assert report.lies == ()
    (doubt,) = report.unverifiable
    assert doubt.text.startswith("version 99 of the rules for its kind looked at it")


# --- kinds that orc does not ship -------------------------------------------------------------------------------------


def test_a_kind_of_ones_own_is_judged_by_its_own_criteria(world: World) -> None:
    (world.root / "criteria").mkdir()
    own = "threshold: 1\nchecks: {length: {max_words: 9}}\nitems: [{id: rhymes, question: Rhymed?, required: true}]\n"
    (world.root / "criteria" / "poem.yaml").write_text(own)
    play(
        world,
        attempt(write={"poem.md": "# Rain\n\nRain falls again\non the grain.\n"}),
        {"match": {"kind": "review"}, "verdict": "APPROVED"},
    )
    world.drop("poem.yaml", "prompt: rain\nkind: poem\n")
    world.run()
    assert world.state("poem") is State.DONE
    evidence, review = world.records("poem")["evidence-1"], world.records("poem")["review-1"]
    assert (evidence.criteria.name, review.items_asked, review.threshold) == ("criteria/poem.yaml", ("rhymes",), 1.0)
    assert not [note for note in evidence.notes if "strictest" in note]
    assert audit(world.root / ".git", {}).lies == ()


def test_a_kind_that_nobody_wrote_criteria_for_gets_the_strictest_and_is_told_of(world: World) -> None:
    play(world, attempt(write={"logo.md": "# Logo\n\nA till.\n"}), {"match": {"kind": "review"}, "verdict": "APPROVED"})
    world.drop("logo.yaml", "prompt: a logo\nkind: design\n")
    world.run()
    evidence, review = world.records("logo")["evidence-1"], world.records("logo")["review-1"]
    assert (evidence.criteria.name, review.threshold, len(review.required)) == ("criteria/other.yaml", 1.0, 8)
    assert evidence.notes[0] == unknown_kind("design", "other")
    assert audit(world.root / ".git", {}).lies == ()


@pytest.mark.parametrize(("kind", "near"), [("cod", "code"), ("wirting", "writing"), ("peom", "poem")])
def test_a_slip_of_a_kind_becomes_nothing(world: World, kind: str, near: str) -> None:
    (world.root / "criteria").mkdir()
    (world.root / "criteria" / "poem.yaml").write_text("items: [{id: a, question: Is it?}]\n")
    play(world, attempt(write={}))
    world.drop("slip.yaml", f"prompt: x\nkind: {kind}\n")
    world.run()
    (why,) = (world.root / "queue" / "rejected").glob("*.why.txt")
    assert (
        f"the kind '{kind}'; did you mean '{near}'? A kind of that name needs criteria/{kind}.yaml" in why.read_text()
    )
