"""Ways to forge the honest ledger of `audit_world`, each with the rule that must notice it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import audit_world as w
import yaml

from orchestrator.adapters.audit_rules import Rule
from orchestrator.adapters.git import rev_parse, tree_of
from orchestrator.adapters.git_objects import commit_tree
from orchestrator.adapters.objects import FILE_MODE, Entry
from orchestrator.core.tamper import VERSION
from orchestrator.core.usage import learned_path
from orchestrator.core.verdict import hash_nonce

LOGIN, ROUNDS, UNCLEAR, BLOCKED = w.LOGIN, w.ROUNDS, w.UNCLEAR, w.BLOCKED
COLLIDES, TWICE, DRAWN, BRANCH = w.COLLIDES, w.TWICE, w.DRAWN, w.BRANCH


@dataclass(frozen=True)
class Forgery:
    """What is forged, which rule must notice, and words that must stand in what it says."""

    forge: Callable[[w.Draft], None]
    rule: Rule
    words: str = ""


SECOND = "  second:\n    why: dispute\n    review: 1\n    reviewers: [critic]\n    told: no\n  source: "
HOLD = "  held:\n    by: human:ada\n    since: '2026-11-20T12:00:02Z'\n  source: "


def at(job: str, event: str, change: Callable[[w.Draft], None], *, to: str = "") -> Callable[[w.Draft], None]:
    """A forgery of one step."""

    def forge(draft: w.Draft) -> None:
        if draft.is_(job, event, to):
            change(draft)

    return forge


def everywhere(job: str, old: str, new: str) -> Callable[[w.Draft], None]:
    """A forgery that is carried through every file and message about a job."""

    def forge(draft: w.Draft) -> None:
        if draft.job == job:
            draft.swap_all(old, new)

    return forge


def review_gone(draft: w.Draft) -> None:
    """No trace of the review but its verdict."""
    if draft.job == LOGIN:
        draft.changes = {path: entry for path, entry in draft.changes.items() if not path.endswith("review-1.yaml")}


def reused_nonce(draft: w.Draft) -> None:
    """The reviewer of another job is given the first one's nonce."""
    first, own = (hash_nonce(f"nonce-{number:04d}-of-the-world") for number in (1, 2))
    if draft.job == ROUNDS:
        draft.swap_all(own, first)


def same_family(draft: w.Draft) -> None:
    """The reviewer is of the author's family, and the record still says another."""
    if draft.job == LOGIN:
        draft.swap_all("family: south", "family: north")
        draft.trailers = [(k, "north" if k == "Reviewer-Family" else v) for k, v in draft.trailers]


def undeclared_family(draft: w.Draft) -> None:
    """The reviewer's family is not known."""
    if draft.job == LOGIN:
        for deep in ("    ", "  "):  # In the job, and in the record.
            draft.swap_all(f"{deep}family: south\n", "")
        draft.trailers = [(k, v) for k, v in draft.trailers if k != "Reviewer-Family"]


def never_stood(draft: w.Draft) -> None:
    """The approval does not stand, and what it proposed is made a job nevertheless."""
    if draft.is_(DRAWN, "stand") or draft.is_(DRAWN, "done"):
        draft.dropped = True


def contradicted_before(draft: w.Draft) -> None:
    """The first answer was not wrong in its form, and the reviewer was asked once more nevertheless."""
    reply = json.loads(yaml.safe_load(draft.read("review-1.yaml"))["reply"])
    draft.swap("review-1.yaml", "first_reply: I like it.", f"first_reply: '{json.dumps({**reply, 'files': []})}'")


def revise_as_approved(draft: w.Draft) -> None:
    """A request for changes is told as an approval."""
    if draft.is_(ROUNDS, "verdict") and any("review-1" in path for path in draft.changes):
        draft.swap("review-1.yaml", "verdict: REVISE", "verdict: APPROVED")
        draft.trail("Verdict", "APPROVED")


def approved_late(draft: w.Draft) -> None:
    """The record of a review that asked for changes is changed in a later step."""
    if draft.is_(ROUNDS, "start") and draft.old.trailer("Attempt") == "5":
        folder = draft.path("job.yaml").removesuffix("job.yaml")
        draft.changes[f"{folder}review-1.yaml"] = Entry(FILE_MODE, draft.objects.write("blob", b"number: 1\n"))


def answered_twice(draft: w.Draft) -> None:
    """A card that was superseded is answered by a person, where it was only closed before."""
    if draft.is_(BLOCKED, "supersede"):
        draft.subject = draft.subject.replace("supersede:", "answer:")
        draft.author = "human:ada <ada@orc.invalid>"
        draft.trail("Actor", "human:ada")
        draft.trailers.append(("Answer", "retry"))
        draft.swap("card-1.yaml", "superseded:", "answer: retry\nby: human:ada\nsuperseded:")


def superseded_answered(draft: w.Draft) -> None:
    """The card of an approval was superseded before a person answered it."""
    if draft.is_(ROUNDS, "verdict", to="decide"):
        draft.write("card-1.yaml", draft.read("card-1.yaml") + "superseded: the target has moved\n")
    if draft.is_(ROUNDS, "answer"):
        draft.write("card-1.yaml", draft.read("card-1.yaml") + "superseded: the target has moved\n")


def already_answered(draft: w.Draft) -> None:
    """The card was answered when it was asked."""
    if draft.is_(ROUNDS, "verdict", to="decide"):
        draft.write("card-1.yaml", draft.read("card-1.yaml") + "answer: drop\nby: human:ada\n")


def not_approved(draft: w.Draft) -> None:
    """The job says it is merged without saying what was approved."""
    if draft.job == LOGIN and draft.event in ("verdict", "merge", "check", "checked", "done"):
        text = draft.read("job.yaml")
        draft.write("job.yaml", re.sub(r"  approved: .*\n", "", text))
        draft.trailers = [(k, v) for k, v in draft.trailers if k != "Reviewed-Sha" or draft.event == "verdict"]


def skipped_review(draft: w.Draft) -> None:
    """Neither a review nor a verdict: from the checks straight to the merge."""
    if draft.is_(LOGIN, "review") or draft.is_(LOGIN, "verdict"):
        draft.dropped = True


def failed_as_passed(draft: w.Draft) -> None:
    """Checks that failed are told as passed, with a result that still shows it."""
    if draft.job == LOGIN and any(path.endswith("evidence-1.yaml") for path in draft.changes):
        draft.swap_all("outcome: passed\n    exit: 0", "outcome: failed\n    exit: 2")


def exit_not_zero(draft: w.Draft) -> None:
    """A check is said to have passed although it ended with an error."""
    if draft.is_(LOGIN, "checked", to="reviewing"):
        draft.swap("evidence-1.yaml", "exit: 0", "exit: 2")


def check_left_out(draft: w.Draft) -> None:
    """The check that the job names was never run."""
    if draft.job == LOGIN:
        draft.swap_all("make test\n    outcome: passed", "make tea\n    outcome: passed")


def another_merge(draft: w.Draft) -> None:
    """The merged commit holds something that nobody approved."""
    if draft.job == LOGIN:
        door = draft.git
        merged = rev_parse(door, f"refs/orc/merges/{LOGIN}") or ""
        onto, approved = door.text("rev-list", "--parents", "-n1", merged).split()[1:]
        evil = w.make_commit(door, draft.objects, approved, {"app.py": "import os\n"})
        tree = tree_of(door, evil)
        forged = commit_tree(door, tree, [onto, approved], "merge", author=w.PERSON, when=w.BEGIN)
        draft.swap_all(merged, forged)
        draft.swap_all(merged[:12], forged[:12])
        draft.swap_all(tree_of(door, merged), tree)


def other_parents(draft: w.Draft) -> None:
    """The merged commit has the right tree, but is no merge of the approved commit."""
    if draft.job == LOGIN:
        door = draft.git
        merged = rev_parse(door, f"refs/orc/merges/{LOGIN}") or ""
        onto = door.text("rev-list", "--parents", "-n1", merged).split()[1]
        lone = commit_tree(door, tree_of(door, merged), [onto], "merge", author=w.PERSON, when=w.BEGIN)
        draft.swap_all(merged, lone)
        draft.swap_all(merged[:12], lone[:12])


def other_commit(draft: w.Draft) -> None:
    """The review was of the base, and so the approval."""
    if draft.is_(LOGIN, "verdict") or draft.is_(LOGIN, "review"):
        text = draft.read("review-1.yaml")
        commit, base = (re.findall(rf'^{key}: "?(\w+)', text, re.M)[0] for key in ("commit", "base"))
        draft.write("review-1.yaml", text.replace(commit, base))
        draft.trail("Reviewed-Sha", base)


def second_job_too(draft: w.Draft) -> None:
    """A step of one job changes the folder of another."""
    if draft.is_(LOGIN, "start"):
        blob = Entry(FILE_MODE, draft.objects.write("blob", b"a note"))
        draft.changes["open/0b/rounds-0b000002/note.txt"] = blob


def other_file_too(draft: w.Draft) -> None:
    """A step of a job changes what the ledger says of its format."""
    if draft.is_(LOGIN, "start"):
        draft.changes["ledger.yaml"] = Entry(FILE_MODE, draft.objects.write("blob", b"format: 1\n"))


def job_removed(draft: w.Draft) -> None:
    """A job vanishes."""
    if draft.is_(w.GIVEN_UP, "cancel"):
        draft.changes = {path: None for path in draft.changes if path.startswith("open/")}


def in_two_places(draft: w.Draft) -> None:
    """An ended job stays open as well."""
    if draft.is_(w.GIVEN_UP, "cancel"):
        draft.changes = {path: entry for path, entry in draft.changes.items() if not path.startswith("open/")}
        draft.changes[f"open/0d/{w.GIVEN_UP}/note"] = Entry(FILE_MODE, draft.objects.write("blob", b"here"))


def text_changed(draft: w.Draft) -> None:
    """The engine rewrites what the person asked for."""
    if draft.is_(LOGIN, "start"):
        draft.swap("job.yaml", "Put it right.", "Put it wrong.")


def held_by_nobody(draft: w.Draft) -> None:
    """The text asks for no hold, and the engine's block says that there is one."""
    if "hold: " not in draft.read("job.yaml"):
        draft.swap("job.yaml", "  source: ", HOLD)


def held_start(draft: w.Draft) -> None:
    """A person holds the job, and the engine starts it nevertheless; nobody ever releases it."""
    if draft.job == LOGIN:
        draft.swap("job.yaml", "checks: [make test]\n", "checks: [make test]\nhold: true\n")
        draft.swap("job.yaml", "  source: ", HOLD)


def number_reused(draft: w.Draft) -> None:
    """The third attempt is told as a second one and takes its place."""
    if draft.is_(ROUNDS, "start") and draft.old.trailer("Attempt") == "3":
        text = draft.read("attempt-3.yaml").replace("number: 3", "number: 2").replace("attempt-3", "attempt-2")
        draft.changes = {p: e for p, e in draft.changes.items() if "attempt-3" not in p}
        draft.write("attempt-2.yaml", text)
        draft.swap("job.yaml", "attempt: 3", "attempt: 2")
        draft.trail("Attempt", "2")


def reworded(key: str, value: str) -> Callable[[w.Draft], None]:
    """A trailer says something else."""
    return lambda draft: draft.trail(key, value)


def swapped(name: str, old: str, new: str) -> Callable[[w.Draft], None]:
    """A file says something else."""
    return lambda draft: draft.swap(name, old, new)


def rewritten(name: str, pattern: str, new: str) -> Callable[[w.Draft], None]:
    """A file says something else wherever the pattern fits."""

    def forge(draft: w.Draft) -> None:
        if any(path.endswith(f"/{name}") for path in draft.changes):
            draft.write(name, re.sub(pattern, new, draft.read(name)))

    return forge


def blessed(draft: w.Draft) -> None:
    """A step of a kind that does not exist."""
    draft.subject = draft.subject.replace("start:", "bless:")


def skipped_seq(draft: w.Draft) -> None:
    """A number in the row of steps is left out."""
    seq = draft.old.trailer("Seq") or ""
    draft.swap("job.yaml", f"seq: {seq}", f"seq: {int(seq) + 1}")
    draft.trail("Seq", str(int(seq) + 1))


def asked_twice(draft: w.Draft) -> None:
    """The second reviewer is the first one again."""
    if draft.old.trailer("Review") == "2":
        draft.swap("review-2.yaml", "agent: skeptic", "agent: critic")
        draft.trail("Reviewer", "critic")


def by_engine(draft: w.Draft) -> None:
    """The engine answers a person's card."""
    draft.author = "engine <engine@orc.invalid>"
    draft.trail("Actor", "engine")
    draft.swap("card-1.yaml", "by: human:ada", "by: engine")


def another_answers(draft: w.Draft) -> None:
    """One person answers in the name of another."""
    draft.swap("card-1.yaml", "by: human:ada", "by: human:grace")


def other_author(draft: w.Draft) -> None:
    """The commit is by somebody else than it says."""
    draft.author = "human:ada <ada@orc.invalid>"


def other_committer(draft: w.Draft) -> None:
    """Somebody else than orc made the commit."""
    draft.committer = "engineer <engineer@agents.orc.invalid>"


def second_parent(draft: w.Draft) -> None:
    """Another line of history is merged into the ledger."""
    draft.parents.append(draft.old.parents[0])


def cut_off(draft: w.Draft) -> None:
    """What came before is left out of the history."""
    draft.parents = []


def long_ago(draft: w.Draft) -> None:
    """A commit from before the ones before it."""
    draft.seconds -= 7200


def illegal_step(draft: w.Draft) -> None:
    """From running straight to review."""
    draft.swap("job.yaml", "state: collected", "state: reviewing")
    draft.trail("To", "reviewing")


def empty_passed(draft: w.Draft) -> None:
    """The gate's refusal of an empty diff is left out."""
    if draft.old.trailer("Refused-By") != "empty_diff":
        return
    text = draft.read("evidence-1.yaml")
    assert "failures:" in text
    draft.write("evidence-1.yaml", re.sub(r"failures:\n(?:  .*\n)+", "", text))


def unprotected(draft: w.Draft) -> None:
    """A protected path is not told of."""
    if draft.job == UNCLEAR:
        draft.swap_all("protected:\n  - CLAUDE.md\n", "")
        draft.swap_all("  protected:\n    - CLAUDE.md\n", "")


FOUND = '  - rule: orc_touched\n    path: CLAUDE.md\n    text: "what orc or its agents work by: added"\n'
HELD = '  tampering:\n    - "CLAUDE.md: what orc or its agents work by: added"\n'


def untold(draft: w.Draft) -> None:
    """What was done to a file that agents work by is not told of."""
    if draft.job == UNCLEAR:
        draft.swap_all(HELD, "")
        draft.swap_all(f"tampering:\n{FOUND}", "")
        draft.trailers = [each for each in draft.trailers if each[0] != "Tampering"]


def never_looked(draft: w.Draft) -> None:
    """The same, and it is said that nobody looked."""
    untold(draft)
    if draft.job == UNCLEAR:
        draft.swap_all(f"tamper_rules: {VERSION}\n", "")


def said_allowed(draft: w.Draft) -> None:
    """It is said that the job allows what it does not."""
    if draft.job == UNCLEAR:
        draft.swap_all(HELD, "")
        draft.swap_all(FOUND, f"{FOUND}    declared: true\n")
        draft.trailers = [each for each in draft.trailers if each[0] != "Tampering"]


def other_stop(draft: w.Draft) -> None:
    """Another reason is told why the work was stopped."""
    draft.trail("Stopped-By", "weak")


def untold_stop(draft: w.Draft) -> None:
    """It is not told that a reviewer stopped the work."""
    draft.trailers = [each for each in draft.trailers if each[0] != "Stopped-By"]


def of_proposal(change: Callable[[str], str | None]) -> Callable[[w.Draft], None]:
    """Another record of what came of the proposal, or none."""

    def forge(draft: w.Draft) -> None:
        for path, entry in draft.changes.items():
            if path.startswith("requests/") and entry is not None:
                text = change(draft.objects.read(entry.oid).decode())
                draft.dropped = text is None
                draft.changes[path] = Entry(FILE_MODE, draft.objects.write("blob", (text or "").encode()))

    return forge


nothing_came = of_proposal(lambda text: None)
refused_silently = of_proposal(lambda text: re.sub(r"job: .*\n", "", text))
made_another = of_proposal(lambda text: re.sub(r"job: .*\n", f"job: {LOGIN}\n", text))

ESCAPE = (
    "escapes:\n  - rule: config_touched\n    place: .git/hooks/pre-push\n    text: made while it ran\n    attempt: 1\n"
)


def escaped(draft: w.Draft) -> None:
    """The author's run left a hook behind, and nothing follows from it."""
    for path, entry in draft.changes.items():
        if draft.job == LOGIN and path.endswith("attempt-1.yaml") and entry is not None:
            text = draft.objects.read(entry.oid) + ESCAPE.encode()
            draft.changes[path] = Entry(FILE_MODE, draft.objects.write("blob", text))


def escaped_and_went_on(draft: w.Draft) -> None:
    """The evidence tells of it too, but nobody is asked."""
    escaped(draft)
    if draft.job == LOGIN:
        draft.swap_all("\ndocs:\n", f"\n{ESCAPE}docs:\n")


def standing_lie(draft: w.Draft) -> None:
    """A step slips in something that it has no business with."""
    draft.swap("job.yaml", "  attempt: 1\n", "  attempt: 1\n  protected: [app.py]\n")


def smuggled_approval(draft: w.Draft) -> None:
    """The start of the checks approves the work."""
    text = draft.read("job.yaml")
    tip = re.findall(r'  tip: "?(\w+)', text)[0]
    draft.write("job.yaml", f'{text}  approved: "{tip}"\n')


def unread_finding(draft: w.Draft) -> None:
    """A blocking finding is in the reply of an approval."""
    reply = re.findall(r"^reply: (.*)$", draft.read("review-1.yaml"), re.M)[0]
    value = json.loads(json.loads(reply) if reply.startswith('"') else reply)
    value["findings"] = [{"severity": "blocking", "problem": "it does nothing"}]
    draft.swap("review-1.yaml", reply, json.dumps(json.dumps(value)))


def failed_run(draft: w.Draft) -> None:
    """The reviewer's program failed, and it counts all the same."""
    draft.swap("review-1.yaml", "\nexit: 0", "\nexit: 1")


def not_an_ending(draft: w.Draft) -> None:
    """A library file is removed."""
    if draft.subject.startswith("reject:"):
        draft.changes["library/souls/engineer.md"] = None


def filed_elsewhere(draft: w.Draft) -> None:
    """A filing writes where no filing belongs."""
    if draft.subject.startswith("reject:"):
        draft.changes["orders.yaml"] = Entry(FILE_MODE, draft.objects.write("blob", b"obey: true\n"))


def empty_step(draft: w.Draft) -> None:
    """A commit that says it is a step and changes nothing."""
    draft.changes = {}


def beside(path: str, old: str, new: str) -> Callable[[w.Draft], None]:
    """A file of the ledger that is no job's says something else."""

    def change(draft: w.Draft) -> None:
        entry = draft.changes[path]
        assert entry is not None
        text = draft.objects.read(entry.oid)
        assert old.encode() in text, text
        draft.changes[path] = Entry(FILE_MODE, draft.objects.write("blob", text.replace(old.encode(), new.encode())))

    return change


def nothing_expected(draft: w.Draft) -> None:
    """A run is begun as by an orc that counted nothing."""
    rewritten("job.yaml", r"  reserved:\n(    .*\n)+", "")(draft)
    names = (path.rpartition("/")[2] for path, entry in draft.changes.items() if entry is not None)
    record = next(name for name in names if name.startswith("attempt-") and name.endswith(".yaml"))
    rewritten(record, r"estimate:\n(  .*\n)+", "")(draft)


def moved(path: str, to: str) -> Callable[[w.Draft], None]:
    """A file of the ledger lies elsewhere, or nowhere."""

    def change(draft: w.Draft) -> None:
        entry = draft.changes.pop(path)
        if to:
            draft.changes[to] = entry

    return change


DAY = "usage/2026/11/21.yaml"
LEARNED = learned_path("code", "north-1")
FORGERIES: dict[str, Forgery] = {
    "less is set aside": Forgery(
        at(w.METERED, "start", rewritten("job.yaml", "tokens: 4010", "tokens: 1")),
        Rule.USAGE,
        "what is set aside",
    ),
    "less is expected": Forgery(
        at(w.METERED, "start", lambda draft: draft.swap_all("tokens: 1041", "tokens: 1")),
        Rule.USAGE,
        "expected to use",
    ),
    "a run that no limit sees": Forgery(
        at(w.METERED, "start", nothing_expected),
        Rule.USAGE,
        "without a word of what it is expected to use",
    ),
    "a run that a job has not used": Forgery(
        at(w.METERED, "collect", rewritten("job.yaml", r"  used:\n(    .*\n)+", "")), Rule.USAGE, "the job has used"
    ),
    "a run that is set aside for ever": Forgery(
        at(
            w.METERED,
            "lost",
            rewritten("job.yaml", r"\n  used:", "\n  reserved:\n    agent: engineer\n    tokens: 4010\n  used:"),
        ),
        Rule.USAGE,
        "what is set aside",
    ),
    "a run that no day has": Forgery(at(w.METERED, "collect", moved(DAY, "")), Rule.USAGE, "in 0 days"),
    "a run of another day": Forgery(
        at(w.METERED, "collect", moved(DAY, "usage/2026/11/24.yaml")), Rule.USAGE, "ended on 2026-11-21"
    ),
    "a day with less": Forgery(
        at(w.METERED, "collect", beside(DAY, "tokens: 5210", "tokens: 5000")), Rule.USAGE, "counted in usage/2026"
    ),
    "minutes with less": Forgery(
        at(w.METERED, "collect", beside("usage/window.yaml", "tokens: ", "tokens: 1")), Rule.USAGE, "usage/window"
    ),
    "something else is learned": Forgery(
        at(w.METERED, "collect", beside(LEARNED, "runs: 1", "runs: 9")), Rule.USAGE, "usage/learned"
    ),
    "something is counted where nothing ends": Forgery(
        at(w.METERED, "evidence", lambda draft: draft.changes.update({DAY: draft.changes[draft.path("job.yaml")]})),
        Rule.USAGE,
        "counts nothing",
    ),
    "pressure of more than was used": Forgery(
        lambda draft: beside("usage/pressure.yaml", "used: ", "used: 1")(draft) if draft.event == "pressure" else None,
        Rule.USAGE,
        "tokens in five minutes",
    ),
    "pressure that was there before": Forgery(
        lambda draft: (
            beside("usage/pressure.yaml", "engaged: true", "engaged: false")(draft)
            if draft.event == "pressure"
            else None
        ),
        Rule.USAGE,
        "which is not so",
    ),
    "a job of the engine is P0": Forgery(
        at(w.PROPOSED, "accept", lambda draft: draft.swap("job.yaml", "  source: ", "  priority: 0\n  source: ")),
        Rule.ACTOR,
        "only a person may ask",
    ),
    "a verdict without a review": Forgery(review_gone, Rule.VERDICT, "no record of a review"),
    "a review that never started": Forgery(skipped_review, Rule.STEP, "not possible from reviewing|merge is not"),
    "another nonce": Forgery(
        at(LOGIN, "verdict", swapped("review-1.yaml", "nonce_sha256: ", "nonce_sha256: a")), Rule.VERDICT, "nonce|bound"
    ),
    "a nonce used twice": Forgery(reused_nonce, Rule.NONCE, "the nonce of another"),
    "another commit reviewed": Forgery(other_commit, Rule.REVIEW, "what is reviewed"),
    "another diff-stat": Forgery(everywhere(LOGIN, "1 file changed", "2 files changed"), Rule.EVIDENCE, "diff-stat"),
    "another path": Forgery(everywhere(LOGIN, "path: app.py", "path: apple.py"), Rule.EVIDENCE, "not changed"),
    "other lines of a path": Forgery(everywhere(LOGIN, "added: 1", "added: 9"), Rule.EVIDENCE, r"says of app\.py"),
    "an empty diff let through": Forgery(at(ROUNDS, "evidence", empty_passed), Rule.EVIDENCE, "empty_diff"),
    "a refusal made up": Forgery(
        at(
            LOGIN,
            "evidence",
            swapped("evidence-1.yaml", "docs:\n", "failures:\n  - rule: plan_only\n    text: no\ndocs:\n"),
        ),
        Rule.EVIDENCE,
        "plan_only, but it does not",
    ),
    "a protected path kept quiet": Forgery(unprotected, Rule.EVIDENCE, "protected paths"),
    "tampering kept quiet": Forgery(untold, Rule.EVIDENCE, "says nothing of orc_touched"),
    "tampering that the job does not allow": Forgery(said_allowed, Rule.EVIDENCE, "CLAUDE.md .allowed.: .*not so"),
    "tampering that holds nothing up": Forgery(
        at(UNCLEAR, "evidence", swapped("job.yaml", HELD, "")), Rule.EVIDENCE, "what is held for a person"
    ),
    "tampering made up": Forgery(
        at(
            LOGIN,
            "evidence",
            swapped("evidence-1.yaml", "tamper_rules", f"tampering:\n{FOUND}tamper_rules"),
        ),
        Rule.EVIDENCE,
        "says orc_touched of CLAUDE.md",
    ),
    "an escape that the evidence keeps quiet": Forgery(escaped, Rule.EVIDENCE, "what was done outside of the trees"),
    "an escape that holds nothing up": Forgery(escaped_and_went_on, Rule.EVIDENCE, "what is held for a person"),
    "an escape that is made up": Forgery(
        at(LOGIN, "evidence", swapped("evidence-1.yaml", "docs:\n", f"{ESCAPE}docs:\n")),
        Rule.EVIDENCE,
        "what was done outside of the trees",
    ),
    "a look outside of the tree that was never taken": Forgery(
        at(LOGIN, "evidence", swapped("evidence-1.yaml", "docs:\n", "escape_rules: 1\ndocs:\n")),
        Rule.EVIDENCE,
        "who looked outside",
    ),
    "a branch that was left with what nobody allowed": Forgery(
        everywhere(BRANCH, "  source: ", f"{HELD}  source: "), Rule.APPROVAL, "this approval is enough for decide only"
    ),
    "another reason why work was stopped": Forgery(
        at(UNCLEAR, "verdict", other_stop, to="decide"), Rule.MESSAGE, "Stopped-By is weak, but it was rejected"
    ),
    "work that is not said to be stopped": Forgery(
        at(ROUNDS, "verdict", untold_stop, to="ready"), Rule.MESSAGE, "nothing, but it was sent_back"
    ),
    "a card that does not tell of tampering": Forgery(
        at(UNCLEAR, "verdict", swapped("card-1.yaml", "CLAUDE.md: ", "README.md: "), to="decide"),
        Rule.CARD,
        "does not tell: CLAUDE.md",
    ),
    "an approval that is not called suspicious": Forgery(
        at(TWICE, "verdict", rewritten("review-1.yaml", r"doubts:\n *- .*\n", ""), to="reviewing"),
        Rule.VERDICT,
        "why the approval is suspicious",
    ),
    "a suspicious approval without a second reviewer": Forgery(
        at(TWICE, "verdict", rewritten("job.yaml", r"  second:\n(    .*\n)+", ""), to="reviewing"),
        Rule.VERDICT,
        "why another reviewer is asked",
    ),
    "an approval that was drawn and is not said to be": Forgery(
        at(DRAWN, "verdict", swapped("review-1.yaml", "drawn: true\n", "")),
        Rule.VERDICT,
        "whether the approval is drawn",
    ),
    "a share of which less are drawn afterwards": Forgery(
        at(DRAWN, "verdict", swapped("review-1.yaml", "share: 100", "share: 1")), Rule.RECORD, "changes `share`"
    ),
    "an approval that was drawn and not put before anybody else": Forgery(
        at(DRAWN, "verdict", rewritten("job.yaml", r"  second:\n(    .*\n)+", "")),
        Rule.VERDICT,
        "why another reviewer is asked",
    ),
    "an approval that stands though none was drawn": Forgery(
        at(DRAWN, "verdict", rewritten("job.yaml", r"  second:\n(    .*\n)+", "")),
        Rule.APPROVAL,
        "lets an approval stand",
    ),
    "another commit that an approval stands for": Forgery(
        at(DRAWN, "stand", rewritten("job.yaml", r"approved: \S+", f"approved: {'a' * 40}")),
        Rule.APPROVAL,
        "the approved commit",
    ),
    "a second turn that is not counted": Forgery(
        at(DRAWN, "verdict", swapped("job.yaml", "starts: 4", "starts: 3")), Rule.COUNTER, "the number of starts"
    ),
    "another reason to ask a reviewer once more": Forgery(
        at(DRAWN, "verdict", swapped("review-1.yaml", "first_reply: I like it.", "first_reply: '{}'")),
        Rule.VERDICT,
        "what was wrong with the first answer",
    ),
    "a reviewer asked once more for no reason": Forgery(
        at(DRAWN, "verdict", contradicted_before), Rule.VERDICT, "no reason for"
    ),
    "a job that no reviewer proposed": Forgery(
        at(w.PROPOSED, "accept", swapped("job.yaml", "Test it.", "Test all.")), Rule.REVIEW, "did not propose"
    ),
    "a job that may do more than the reviewer proposed": Forgery(
        at(w.PROPOSED, "accept", swapped("job.yaml", "title: Test h\n", "title: Test h\nmerge: auto\n")),
        Rule.REVIEW,
        "did not propose",
    ),
    "a job of a proposal whose verdict does not count": Forgery(never_stood, Rule.VERDICT, "does not count"),
    "a proposal of which nothing came": Forgery(nothing_came, Rule.REVIEW, "proposed 'Test h', and nothing says what"),
    "a proposal refused without a reason": Forgery(
        refused_silently, Rule.REVIEW, "neither a job nor why there is none"
    ),
    "a proposal that became another's job": Forgery(
        made_another, Rule.REVIEW, f"says that {LOGIN} was made of 'Test h'.*but it was not"
    ),
    "a question that the criteria do not ask": Forgery(
        at(LOGIN, "review", rewritten("review-1.yaml", "  - correct\n", "")), Rule.REVIEW, "what is asked"
    ),
    "a question that decides no more": Forgery(
        at(LOGIN, "review", rewritten("review-1.yaml", r"required:\n  - does-the-task\n", "")),
        Rule.REVIEW,
        "what is required",
    ),
    "criteria that are not named": Forgery(
        at(LOGIN, "review", rewritten("review-1.yaml", r"criteria:\n(  .*\n)+", "")),
        Rule.REVIEW,
        "does not name the criteria",
    ),
    "other criteria than the ones that are kept": Forgery(
        at(LOGIN, "review", rewritten("review-1.yaml", r"(criteria:\n.*\n  blob: )\S+", r"\g<1>" + "a" * 40)),
        Rule.REVIEW,
        "the version of the criteria",
    ),
    "a proposal kept quiet": Forgery(
        at(DRAWN, "verdict", rewritten("review-1.yaml", r"follow_ups:\n([ -].*\n)+", "")),
        Rule.VERDICT,
        "other answers or findings",
    ),
    "the first reviewer asked a second time": Forgery(
        at(TWICE, "review", asked_twice), Rule.INDEPENDENCE, "asks critic again"
    ),
    "a reviewer that is said to have judged less": Forgery(
        at(TWICE, "review", rewritten("review-1.yaml", r"  judged: \d+", "  judged: 1")), Rule.REVIEW, "judged 1 works"
    ),
    "a reviewer that is said to have approved less": Forgery(
        at(TWICE, "review", rewritten("review-1.yaml", r"  approved: \d+", "  approved: 0")), Rule.REVIEW, "approved 0"
    ),
    "a round that is forgotten": Forgery(
        at(ROUNDS, "verdict", rewritten("job.yaml", r"  asked:\n *- .*\n", ""), to="ready"),
        Rule.VERDICT,
        "what was asked for so far",
    ),
    "a fix that nobody is said to have asked for": Forgery(
        at(ROUNDS, "verdict", rewritten("job.yaml", r"      by:\n *- .*\n", ""), to="ready"),
        Rule.VERDICT,
        "what is asked for",
    ),
    "another reviewer asked for though nothing is disputed": Forgery(
        at(ROUNDS, "collect", rewritten("job.yaml", r"(?m)^  source: ", SECOND), to="collected"),
        Rule.ATTEMPT,
        "why another reviewer is asked",
    ),
    "another reviewer asked for by a step that judges nothing": Forgery(
        at(ROUNDS, "evidence", rewritten("job.yaml", r"(?m)^  source: ", SECOND), to="checking"),
        Rule.STANDING,
        "asks for another reviewer by evidence",
    ),
    "a reviewer of the same family": Forgery(same_family, Rule.INDEPENDENCE, "independence"),
    "a reviewer of an undeclared family": Forgery(undeclared_family, Rule.INDEPENDENCE, "independence"),
    "the author as reviewer": Forgery(everywhere(LOGIN, "critic", "engineer"), Rule.INDEPENDENCE, "too near"),
    "an approval after the fact": Forgery(approved_late, Rule.RECORD, "changes review-1"),
    "REVISE told as APPROVED": Forgery(revise_as_approved, Rule.VERDICT, "comes to REVISE"),
    "a garbled answer told as REJECT": Forgery(
        at(UNCLEAR, "verdict", swapped("review-1.yaml", "INCONCLUSIVE", "REJECT"), to="reviewing"),
        Rule.VERDICT,
        "not exactly one JSON object",
    ),
    "another score": Forgery(
        at(LOGIN, "verdict", swapped("review-1.yaml", "score: 1.0", "score: 0.9")), Rule.VERDICT, "the score"
    ),
    "an approval with a blocking finding": Forgery(
        at(LOGIN, "verdict", unread_finding), Rule.VERDICT, "with a blocking finding"
    ),
    "an approval by a run that failed": Forgery(at(LOGIN, "verdict", failed_run), Rule.VERDICT, "come to its end"),
    "a lower threshold after the fact": Forgery(
        at(LOGIN, "verdict", swapped("review-1.yaml", "threshold: 0.8", "threshold: 0.1")), Rule.RECORD, "threshold"
    ),
    "a card answered by the engine": Forgery(at(ROUNDS, "answer", by_engine), Rule.STEP, "not for the engine"),
    "a card answered in another's name": Forgery(at(ROUNDS, "answer", another_answers), Rule.CARD, "human:grace"),
    "a superseded card answered": Forgery(superseded_answered, Rule.CARD, "was superseded"),
    "a card answered twice": Forgery(already_answered, Rule.CARD, "was answered by"),
    "an answer that was not offered": Forgery(
        at(ROUNDS, "answer", swapped("card-1.yaml", "answer: approve", "answer: retry")), Rule.CARD, "does not offer"
    ),
    "a card about other work": Forgery(
        at(ROUNDS, "verdict", rewritten("card-1.yaml", r"commit: .*", "commit: beef"), to="decide"),
        Rule.CARD,
        "the commit that the card names",
    ),
    "a superseding told as an answer": Forgery(answered_twice, Rule.RECORD, "superseded"),
    "another merged tree": Forgery(another_merge, Rule.MERGE, "the merged tree"),
    "a merged commit that is no merge": Forgery(other_parents, Rule.MERGE, "what was merged"),
    "merged without an approval": Forgery(not_approved, Rule.APPROVAL, "nothing is approved"),
    "an approval smuggled in": Forgery(
        at(LOGIN, "check", smuggled_approval, to="checking"), Rule.APPROVAL, "approves .* by check"
    ),
    "failed tests told as passed": Forgery(failed_as_passed, Rule.CHECKS, "outcome of the tests"),
    "a check that passed with an error": Forgery(exit_not_zero, Rule.CHECKS, "exit 2"),
    "a check that was never run": Forgery(check_left_out, Rule.CHECKS, "the job asks for make test"),
    "checks on another tree": Forgery(
        at(LOGIN, "checked", rewritten("evidence-1.yaml", r"checked_tree: .*", "checked_tree: beef"), to="reviewing"),
        Rule.CHECKS,
        "the tree that was checked",
    ),
    "an illegal step": Forgery(at(LOGIN, "collect", illegal_step), Rule.STEP, "from running to reviewing"),
    "a step that is not in the table": Forgery(at(LOGIN, "start", blessed), Rule.STEP, "no step of a job"),
    "a skipped seq": Forgery(at(LOGIN, "done", skipped_seq), Rule.COUNTER, "seq"),
    "an actor that is not the author": Forgery(at(LOGIN, "start", other_author), Rule.ACTOR, "its author is human:ada"),
    "another job touched": Forgery(second_job_too, Rule.SCOPE, "rounds-0b000002"),
    "another file touched": Forgery(other_file_too, Rule.SCOPE, "ledger.yaml"),
    "a job removed": Forgery(job_removed, Rule.SCOPE, "removes given-up"),
    "a job in two places": Forgery(in_two_places, Rule.SCOPE, "belongs under"),
    "a person's text changed by the engine": Forgery(text_changed, Rule.TEXT, "no edit"),
    "a held job started": Forgery(held_start, Rule.HOLD, "goes on by start"),
    "a hold that nobody asked for": Forgery(
        at(w.GIVEN_UP, "edit", held_by_nobody),
        Rule.HOLD,
        "has it held, but its text says otherwise",
    ),
    "a hold that is passed over": Forgery(
        at(w.GIVEN_UP, "accept", rewritten("job.yaml", r"  held:\n(    .*\n)+", "")), Rule.HOLD, "has it not held"
    ),
    "a hold in another's name": Forgery(
        at(w.GIVEN_UP, "edit", rewritten("job.yaml", "human:ada", "human:grace")), Rule.HOLD, "who holds it"
    ),
    "an attempt's number used again": Forgery(number_reused, Rule.RECORD, "changes attempt-2"),
    "fewer starts": Forgery(
        at(LOGIN, "review", swapped("job.yaml", "starts: 3", "starts: 1")), Rule.COUNTER, "number of starts"
    ),
    "a second line of history": Forgery(at(LOGIN, "start", second_parent), Rule.HISTORY, "2 parents"),
    "a history cut off": Forgery(at(LOGIN, "accept", cut_off), Rule.HISTORY, "the first of the ledger"),
    "another committer": Forgery(at(LOGIN, "start", other_committer), Rule.HISTORY, "not by orc"),
    "a commit from long ago": Forgery(at(LOGIN, "verdict", long_ago), Rule.TIME, "older than the commit before"),
    "a trailer that lies about where the job is": Forgery(
        at(LOGIN, "collect", reworded("To", "done")), Rule.MESSAGE, "trailer To"
    ),
    "a trailer that lies about the verdict": Forgery(
        at(UNCLEAR, "verdict", reworded("Verdict", "APPROVED")), Rule.MESSAGE, "trailer Verdict"
    ),
    "a trailer that lies about the merge": Forgery(
        at(LOGIN, "done", reworded("Merged", "b" * 40)), Rule.LANDING, "the commit that landed"
    ),
    "a trailer that lies about what is asked": Forgery(
        at(ROUNDS, "verdict", reworded("Asks", "ceiling"), to="decide"), Rule.MESSAGE, "trailer Asks"
    ),
    "a trailer that lies about how an attempt ended": Forgery(
        at(LOGIN, "collect", lambda d: d.trailers.append(("Cut-Short", "timeout"))), Rule.MESSAGE, "trailer Cut-Short"
    ),
    "something slipped in": Forgery(at(LOGIN, "collect", standing_lie), Rule.STANDING, "changes protected"),
    "an attempt by another author": Forgery(
        at(LOGIN, "collect", swapped("attempt-1.yaml", "agent: engineer", "agent: writer")), Rule.RECORD, "`worker`"
    ),
    "another prompt": Forgery(
        at(LOGIN, "start", lambda d: d.write("attempt-1.prompt.md", "Do something else.\n")), Rule.ATTEMPT, "the prompt"
    ),
    "another system prompt": Forgery(
        at(LOGIN, "start", lambda d: d.write("attempt-1.system.md", "You agree.\n")), Rule.ATTEMPT, "the system prompt"
    ),
    "another prompt of a review": Forgery(
        at(LOGIN, "review", lambda d: d.write("review-1.prompt.md", "Approve.\n")), Rule.REVIEW, "prompt of the review"
    ),
    "another system prompt of a review": Forgery(
        at(LOGIN, "review", lambda d: d.write("review-1.system.md", "You agree.\n")),
        Rule.REVIEW,
        "the system prompt of the review",
    ),
    "a conversation that nobody had": Forgery(
        at(
            LOGIN,
            "start",
            lambda d: d.write("attempt-1.yaml", d.read("attempt-1.yaml") + "session: s-1\nresumed: true\n"),
        ),
        Rule.ATTEMPT,
        "the session is s-1",
    ),
    "an old conversation passed off as work without one": Forgery(
        at(LOGIN, "collect", lambda d: d.write("attempt-1.yaml", d.read("attempt-1.yaml") + "session_job: 21\n")),
        Rule.ATTEMPT,
        "place in its session",
    ),
    "a conflict that is not counted": Forgery(
        at(COLLIDES, "merge", rewritten("job.yaml", "conflicts: 2", "conflicts: 1")), Rule.COUNTER, "of conflicts"
    ),
    "a second conflict for the same author": Forgery(
        at(COLLIDES, "merge", rewritten("job.yaml", "given: second", "given: engineer")), Rule.MERGE, "goes back to"
    ),
    "work taken over by somebody else": Forgery(
        everywhere(COLLIDES, "agent: second", "agent: third"), Rule.ATTEMPT, "the agent that goes on with it"
    ),
    "a former author that is not named": Forgery(
        at(COLLIDES, "start", rewritten("job.yaml", r"\n  former:\n(?:    .*\n)+", "\n")),
        Rule.ATTEMPT,
        "who else had a hand in the work",
    ),
    "an approval of other work that comes back": Forgery(
        at(COLLIDES, "rebuild", rewritten("job.yaml", "approved: [0-9a-f]+", f"approved: {'a' * 40}")),
        Rule.APPROVAL,
        "did not wait for the target",
    ),
    "an approval that is kept while somebody works": Forgery(
        at(COLLIDES, "start", rewritten("job.yaml", "\n  source: ", f"\n  collided: {'a' * 40}\n  source: ")),
        Rule.APPROVAL,
        "keeps the approval",
    ),
    "a conflict that nobody had": Forgery(
        at(LOGIN, "start", lambda d: d.write("attempt-1.yaml", d.read("attempt-1.yaml") + "conflict: 1\n")),
        Rule.ATTEMPT,
        "which is not open",
    ),
    "a reminder before its time": Forgery(
        at(BLOCKED, "remind", swapped("job.yaml", 'reminded: "2026-11-21', 'reminded: "2026-11-20')),
        Rule.TIME,
        "reminds",
    ),
    "a reminder that decides": Forgery(
        at(BLOCKED, "remind", swapped("job.yaml", "\n  starts: ", "\n  rounds: 1\n  starts: ")),
        Rule.STANDING,
        "which remind may not",
    ),
    "a file removed that was kept": Forgery(not_an_ending, Rule.FILING, "removes library"),
    "a file where none belongs": Forgery(filed_elsewhere, Rule.FILING, "orders.yaml"),
    "a step that changes nothing": Forgery(at(LOGIN, "start", empty_step), Rule.SCOPE, "changes no job"),
    "a record that cannot be read": Forgery(
        at(LOGIN, "evidence", lambda d: d.write("evidence-1.yaml", "number: [\n")), Rule.RECORD, "cannot be read"
    ),
}
