"""What keeps the repositories in order: trees that nobody uses, loose objects, and the proof that all is there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, write_atomic
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_process import GitError
from orchestrator.core.routine import Health, Report, cut_lines, worst
from orchestrator.engine.sweep import DAY_S, Swept, sweep
from orchestrator.engine.upkeep import count_loose, mirrors_of, pack, pack_ledger, unpacked_of_ledger
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

UNUSED_DAYS = 14
PROVE_S = 1200
"""How long git may take to look whether it reaches everything."""
FEW_LOOSE = 200
"""Fewer loose objects are left as they are: a pack for a handful is one pack more to look into."""


@dataclass(frozen=True, slots=True)
class Proof:
    """When it was last looked whether git reaches every object, and what was wrong; '' if nothing was."""

    at: str
    problem: str = ""


def sweep_up(ws: Workspace, dry_run: bool) -> Report:
    """As `orc sweep`, with its usual days. Raises OrcError."""
    found = list(sweep(ws, UNUSED_DAYS * DAY_S, dry_run=dry_run))
    if not found:
        return Report(f"nothing lies unused for {UNUSED_DAYS} days")
    would = [each for each in found if each.gone or (dry_run and not each.why)]
    stay = len(found) - len(would)
    told = f"{len(would)} {'would go' if dry_run else 'removed'}" + (f", {stay} stay" if stay else "")
    return Report(
        told,
        cut_lines(_swept(each) for each in found),
        _key_of(f"{each.name} {each.why}" for each in found),
        figures={"removed": len(would), "stay": stay},
    )


def _swept(each: Swept) -> str:
    stands = "removed" if each.gone else f"stays: {each.why}" if each.why else "would go"
    return f"{each.sort.value} {each.name} ({each.size}): {stands}"


def pack_up(ws: Workspace, dry_run: bool) -> Report:
    """Pack what the ledger and the mirrors hold loose. Of what is the person's nothing is packed. Raises OrcError."""
    lines, total = [], 0
    for name, git in _repositories(ws):
        is_ledger = git is ws.ledger.git
        number = unpacked_of_ledger(ws) if is_ledger else count_loose(git)
        if number < FEW_LOOSE:
            continue
        total += number
        if not dry_run and is_ledger:
            pack_ledger(ws)
        elif not dry_run:
            pack(git)
        lines.append(f"{name}: {number} loose objects {'would be packed' if dry_run else 'packed'}")
    if not lines:
        return Report(f"nowhere lie {FEW_LOOSE} loose objects of orc")
    return Report("; ".join(lines), tuple(lines), _key_of(lines), figures={"packed": total})


def _repositories(ws: Workspace) -> Iterator[tuple[str, Git]]:
    yield "the ledger", ws.ledger.git
    for git in mirrors_of(ws):
        yield f"the mirror {git.git_dir.name.removesuffix('.git')}", git


def maintain(ws: Workspace, dry_run: bool) -> Report:
    """The night's work: sweep, pack, prove that git reaches every object. Raises OrcError."""
    lines: list[str] = []
    states: dict[str, Health] = {}
    figures: dict[str, int] = {}
    for name, act in (("sweep", sweep_up), ("pack", pack_up)):
        try:
            report = act(ws, dry_run)
            states[name], figures = report.status, {**figures, **report.figures}
            lines.append(f"{name}: {report.summary}")
        except (OrcError, OSError) as error:
            states[name] = Health.FAIL
            lines.append(f"{name}: {error}")
    for name, git in _repositories(ws):
        problem = prove(git)
        states[name] = Health.FAIL if problem else Health.OK
        lines.append(f"{name}: {problem or 'git reaches every object'}")
    if not dry_run:
        wrong = next((line for line in lines[2:] if states[line.partition(": ")[0]] is Health.FAIL), "")
        _note_proof(ws, Proof(ws.stamp(), wrong))
    bad = worst(states.values()) is not Health.OK
    told = "not all is well" if bad else "swept, packed, and every object is there"
    return Report(told, cut_lines(lines), ws.stamp(), states, figures)


def prove(git: Git) -> str:
    """What keeps git from reaching every object that it needs; '' if nothing does."""
    try:
        replace(git, timeout=PROVE_S).run("fsck", "--connectivity-only", "--no-dangling", "--no-progress")
    except GitError as error:
        return f"git does not reach every object: {error.message}"[:400]
    return ""


def last_proof(ws: Workspace) -> Proof | None:
    """What the newest proof said; None if there was none."""
    try:
        value = json.loads((ws.paths.routines / "proof.json").read_bytes())
        return Proof(str(value["at"]), str(value["problem"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note_proof(ws: Workspace, proof: Proof) -> None:
    with effect(Effect.CACHE_WRITE):
        ensure_folder(ws.paths.routines)
        write_atomic(ws.paths.routines / "proof.json", json.dumps(asdict(proof)).encode(), sync=False)


def _key_of(texts: Iterator[str] | list[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "replace")).hexdigest()[:16]
