"""Ways to forge what was made, in which conversation, how it was checked and merged."""

from __future__ import annotations

import re

import audit_world as w
from forging import Forgery, at, everywhere, rewritten, swapped

from orchestrator.adapters.audit_rules import Rule
from orchestrator.adapters.git_objects import commit_tree
from orchestrator.adapters.git_refs import rev_parse, tree_of
from orchestrator.adapters.objects import FILE_MODE, Entry
from orchestrator.core.tamper import VERSION

LOGIN, ROUNDS, UNCLEAR, COLLIDES, BRANCH = w.LOGIN, w.ROUNDS, w.UNCLEAR, w.COLLIDES, w.BRANCH


def not_approved(draft: w.Draft) -> None:
    """The job says it is merged without saying what was approved."""
    if draft.job == LOGIN and draft.event in ("verdict", "merge", "check", "checked", "done"):
        text = draft.read("job.yaml")
        draft.write("job.yaml", re.sub(r"  approved: .*\n", "", text))
        draft.trailers = [(k, v) for k, v in draft.trailers if k != "Reviewed-Sha" or draft.event == "verdict"]


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


def number_reused(draft: w.Draft) -> None:
    """The third attempt is told as a second one and takes its place."""
    if draft.is_(ROUNDS, "start") and draft.old.trailer("Attempt") == "3":
        text = draft.read("attempt-3.yaml").replace("number: 3", "number: 2").replace("attempt-3", "attempt-2")
        draft.changes = {p: e for p, e in draft.changes.items() if "attempt-3" not in p}
        draft.write("attempt-2.yaml", text)
        draft.swap("job.yaml", "attempt: 3", "attempt: 2")
        draft.trail("Attempt", "2")


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


def smuggled_approval(draft: w.Draft) -> None:
    """The start of the checks approves the work."""
    text = draft.read("job.yaml")
    tip = re.findall(r'  tip: "?(\w+)', text)[0]
    draft.write("job.yaml", f'{text}  approved: "{tip}"\n')


WORK: dict[str, Forgery] = {
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
    "an attempt's number used again": Forgery(number_reused, Rule.RECORD, "changes attempt-2"),
    "an attempt by another author": Forgery(
        at(LOGIN, "collect", swapped("attempt-1.yaml", "agent: engineer", "agent: writer")), Rule.RECORD, "`worker`"
    ),
    "another prompt": Forgery(
        at(LOGIN, "start", lambda d: d.write("attempt-1.prompt.md", "Do something else.\n")), Rule.ATTEMPT, "the prompt"
    ),
    "another system prompt": Forgery(
        at(LOGIN, "start", lambda d: d.write("attempt-1.system.md", "You agree.\n")), Rule.ATTEMPT, "the system prompt"
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
}
