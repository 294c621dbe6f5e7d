"""What runs have cost: worked out again from the records of the job, and from the day's files before the step.

Counting begins with the first step that counts; a ledger of an orc that counted nothing before that has no such files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from orchestrator.adapters.audit_chain import Store
from orchestrator.adapters.audit_rules import Finding, Rule, Step, differ
from orchestrator.adapters.ledger_paths import goal_path
from orchestrator.core.attempt_record import Attempt, Spoke
from orchestrator.core.costs import FOLDER, added_files
from orchestrator.core.goal import Goal
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.said import cost_of


def is_of_costs(path: str) -> bool:
    """Whether a path of the ledger is one of the files of costs."""
    return path.startswith(f"{FOLDER}/")


def judge_costs(step: Step, *, old_root: str, paths: Collection[str]) -> Iterator[Finding]:
    """A step adds to the costs of its day what its run has used, and that its job ended, and nothing else.

    `paths` are the files of costs that its commit changes. Raises OrcError, ValueError for what cannot be read.
    """
    yield from _check_price(step)
    store, tree = step.new.store, step.commit.tree
    if not paths and store.find(old_root, FOLDER) is None:
        return

    def before(path: str) -> bytes | None:
        return _read(store, old_root, path)

    goal = _goal(store, old_root, step.at.project)
    wanted = added_files(step.before, step.after, step.new.get, goal, step.commit.committer.seconds, before)
    for path in sorted(wanted.keys() | set(paths)):
        if path not in wanted:
            yield Rule.COST, f"changes {path}, though nothing of that day and job ended with it"
        elif _read(store, tree, path) != wanted[path]:
            yield Rule.COST, f"does not add to {path} what ended with it, or not only that"


def _check_price(step: Step) -> Iterator[Finding]:
    """The cost of a run is its use at the price that its record names."""
    run = RunId.parse(step.was.run) if step.was.run != step.at.run else None
    kinds: dict[RunKind, type[Attempt | ReviewRecord]] = {RunKind.ATTEMPT: Attempt, RunKind.REVIEW: ReviewRecord}
    record = step.new.get(kinds[run.kind], run.number) if run is not None and run.kind in kinds else None
    spoke: Spoke | None = record.spoke if record is not None else None
    if spoke is not None and (spoke.price is not None or spoke.priced in ("", "reported")):
        cost, priced = cost_of(spoke.usage, spoke.price)
        yield from differ(Rule.COST, f"{run} cost", spoke.cost_microusd, cost)
        yield from differ(Rule.COST, f"the price of {run} is of", spoke.priced, priced)


def _goal(store: Store, root: str, project: str) -> str:
    entry = store.find(root, goal_path(project))
    return store.record(Goal, entry, goal_path(project)).goal if entry is not None else ""


def _read(store: Store, root: str, path: str) -> bytes | None:
    entry = store.find(root, path)
    return store.read("blob", entry.oid) if entry is not None else None
