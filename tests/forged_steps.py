"""Ways to forge the row of steps: who took them, what they touch, what cards were asked and answered."""

from __future__ import annotations

import audit_world as w
from forging import Forgery, at, reworded, rewritten, swapped

from orchestrator.adapters.audit_rules import Rule
from orchestrator.adapters.objects import FILE_MODE, Entry

LOGIN, ROUNDS, UNCLEAR, BLOCKED = w.LOGIN, w.ROUNDS, w.UNCLEAR, w.BLOCKED

HOLD = "  held:\n    by: human:ada\n    since: '2026-11-20T12:00:02Z'\n  source: "


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


def blessed(draft: w.Draft) -> None:
    """A step of a kind that does not exist."""
    draft.subject = draft.subject.replace("start:", "bless:")


def skipped_seq(draft: w.Draft) -> None:
    """A number in the row of steps is left out."""
    seq = draft.old.trailer("Seq") or ""
    draft.swap("job.yaml", f"seq: {seq}", f"seq: {int(seq) + 1}")
    draft.trail("Seq", str(int(seq) + 1))


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


def standing_lie(draft: w.Draft) -> None:
    """A step slips in something that it has no business with."""
    draft.swap("job.yaml", "  attempt: 1\n", "  attempt: 1\n  protected: [app.py]\n")


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


STEPS: dict[str, Forgery] = {
    "a card that does not tell of tampering": Forgery(
        at(UNCLEAR, "verdict", swapped("card-1.yaml", "CLAUDE.md: ", "README.md: "), to="decide"),
        Rule.CARD,
        "does not tell: CLAUDE.md",
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
    "a job of the engine is P0": Forgery(
        at(w.PROPOSED, "accept", lambda draft: draft.swap("job.yaml", "  source: ", "  priority: 0\n  source: ")),
        Rule.ACTOR,
        "only a person may ask",
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
