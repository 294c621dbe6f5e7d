"""The cards that ask whether a project is finished, as files in `queue/decide/`: shown, and answered like other cards.

What is shown is made from the ledger alone. An answer goes through the same door as that of `orc answer`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.adapters.card_file import parse_card_answer, show_finish
from orchestrator.adapters.ledger_paths import PROJECTS
from orchestrator.adapters.objects import EMPTY_TREE
from orchestrator.adapters.orc_block import read_parts
from orchestrator.adapters.queue_folder import QueueFolder, Seen
from orchestrator.adapters.reading import ReadFile
from orchestrator.core.goal import FinishCard, ProjectState, parse_finish_id
from orchestrator.core.job import Lane
from orchestrator.core.requests import Answer, Leave, PutBack, Quarantine, judge_answer
from orchestrator.engine.change import Change, View
from orchestrator.engine.goal import answer_goal
from orchestrator.engine.goal_counts import read_card, read_goal
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import RefusedError

if TYPE_CHECKING:
    from orchestrator.core.goal import Goal

_SEQ = 1
"""A card that is open does not change, so its file has one version."""


@dataclass(slots=True)
class GoalCards:
    """The files of these cards in `queue/decide/`: `recall` those of an earlier engine, then `refresh`."""

    ws: Workspace
    queue: QueueFolder
    _tree: str = ""
    """The ledger's folder of projects as it is shown."""
    _files: dict[str, Path] = field(default_factory=dict)
    """What is shown, by the ids of the cards."""

    def recall(self, root: str, *, must_exist: bool) -> None:
        """Take it that an earlier engine showed the open cards of this tree of the ledger."""
        for card, path, data in self.views(root):
            self.queue.recall(path, data, id=card.id, seq=_SEQ, must_exist=must_exist)
            self._files[card.id] = path

    def refresh(self, root: str, again: Collection[str]) -> None:
        """Show the open cards, and hide the others. `again`: those whose files are no longer what was shown."""
        tree = self._folder(root)
        if tree == self._tree and not again:
            return
        wanted = {card.id: (path, data) for card, path, data in self.views(root)}
        for id_, (path, data) in wanted.items():
            self._files[id_] = path
            if not self.queue.show(path, data, id=id_, seq=_SEQ):
                self.queue.changed_ids.add(id_)
        for id_ in self._files.keys() - wanted.keys():
            if self.queue.hide(self._files[id_]):
                self.queue.clear_note(self._files.pop(id_))
            else:
                self.queue.changed_ids.add(id_)
        for id_ in again:
            self.queue.adopted.pop(id_, None)
        self._tree = tree

    def views(self, root: str) -> Iterator[tuple[FinishCard, Path, bytes]]:
        """The open cards of a tree of the ledger, each with its file."""
        objects = self.ws.ledger.objects

        def read(path: str) -> bytes | None:
            entry = objects.find(root, path)
            return objects.read(entry.oid) if entry is not None else None

        for project in objects.tree(self._folder(root)):
            known = read_goal(read, project)
            if known is None or known.state is not ProjectState.PENDING_APPROVAL:
                continue
            card = read_card(read, known)
            if card is not None and card.open:
                yield card, file_of(self.queue, card), show_finish(card)

    def _folder(self, root: str) -> str:
        entry = self.ws.ledger.objects.find(root, PROJECTS)
        return entry.oid if entry is not None else EMPTY_TREE


def file_of(queue: QueueFolder, card: FinishCard) -> Path:
    """Where the file of a card lies."""
    return queue.path(Lane.DECIDE, f"{card.id}.yaml")


def judge_finish(view: View, seen: Seen, read: ReadFile, name: str) -> Change:
    """The file of such a card that was filled in, changed or moved. Raises OrcError.

    An answer is on the ledger when this returns: whether it still stands is known under the ledger's lock alone.
    """
    project, number = parse_finish_id(name.removesuffix(".yaml")) or ("", 0)
    known = read_goal(view.ws.ledger.read_file, project)
    card = read_card(view.ws.ledger.read_file, known, number) if known is not None else None
    if known is None or card is None:
        raise RefusedError(f"there is no card {name.removesuffix('.yaml')}")
    given = parse_card_answer(read.data, name=seen.path.name)
    if given.card_id != card.id:
        raise RefusedError(f"the file is named after {card.id}, but is {given.card_id[:80]}")
    change = Change(seen.path, read.signature, card.id, file_of(view.queue, card))
    fresh = read_parts(show_finish(card), markdown=False, file=seen.path.name)
    intact, touched = given.block == fresh.block, given.text != fresh.text
    for request in judge_answer(seen.lane, given.answer, given.message, card, intact=intact, touched=touched):
        change = _grant(view, known, card, change, request)
    return change


def _grant(view: View, known: Goal, card: FinishCard, change: Change, request: object) -> Change:
    match request:
        case Quarantine(reason):
            return replace(change, refusal=reason)
        case Leave(reason):
            return replace(change, leave=True, note=reason)
        case PutBack(reason):
            return replace(change, note=f"Not done: {reason}.")
        case Answer(_, key, message):
            step, job = answer_goal(view.ws, known, card, key, message, view.actor)
            return replace(change, told=(step.subject, *([job.subject] if job is not None else [])))
        case _:
            raise TypeError(f"not for a card: {request!r}")
