"""Run logs: what ended runs printed, kept in `state/logs/` for people to read. Nothing depends on it; the oldest go."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, remove, remove_tree, rename_folder
from orchestrator.adapters.reading import scan, signature
from orchestrator.adapters.run_folder import RunFolder
from orchestrator.core.config import LogLimits
from orchestrator.core.ids import RunId, bucket
from orchestrator.engine.workspace import Paths

log = logging.getLogger("orc.logs")
KEPT_CHECKS = 2000
"""Results of checks that are remembered, newest first; whatever is forgotten is found out again."""
AT_ONCE = 500
"""What is removed in one pass, at most."""
DAY_S = 86_400
_OTHERS = "base"
"""Where the logs of runs lie that belong to no job."""

Aged = tuple[int, Path]
"""When something was begun, in nanoseconds, and where it lies."""


def logs_near(paths: Paths, job: str) -> Path:
    """The folder that holds the logs of a job's runs, and of the few other jobs with the same two digits."""
    return paths.state / "logs" / bucket(job)


def log_folder(paths: Paths, run: str) -> Path:
    """Where the folder of a run lies once the run has been put away."""
    known = RunId.parse(run)
    return (logs_near(paths, known.job) if known else paths.state / "logs" / _OTHERS) / run


def put_away(paths: Paths, place: RunFolder) -> None:
    """Keep what a person may want to read of a run's folder; `state/` may vanish, so nothing depends on it."""
    path = place.path
    with effect(Effect.RUN_CLEAN):
        for name in ("tree", "home", "tmp", "skills", "conflict"):
            remove_tree(path / name)
        for left in path.glob("tree.json*"):
            remove_tree(left)
        # The nonce of a review is worth nothing any more, but it was never anybody else's either.
        remove_tree(path / "facts.json")
        remove(paths.note(path.name))
        kept = log_folder(paths, path.name)
        ensure_folder(kept.parent)
        remove_tree(kept)
        try:
            rename_folder(path, kept, sync=False)
        except OSError:
            remove_tree(path)
        remove(paths.bell / path.name)
        remove(place.lease)


def prune_logs(paths: Paths, keep: LogLimits, now: datetime) -> bool:
    """Remove the logs of the oldest runs, where there are too many or they are too old; whether none are left to go."""
    newest = sorted(_logs(paths.state / "logs"), reverse=True)
    oldest = int((now.timestamp() - keep.days * DAY_S) * 1e9)
    gone = [each for number, each in enumerate(newest) if number >= keep.runs or each[0] < oldest]
    return _remove(gone, Effect.RUN_CLEAN)


def forget_checks(paths: Paths) -> bool:
    """Remove the oldest remembered results of checks, where there are too many; whether none are left to go."""
    folder = paths.orcdir / "checks"
    known = sorted(((each.signature.mtime_ns, folder / each.name) for each in scan(folder)), reverse=True)
    return _remove(known[KEPT_CHECKS:], Effect.CACHE_WRITE)


def _logs(top: Path) -> Iterator[Aged]:
    for folder in _folders(top):
        # A name with a dot is that of a run: earlier versions kept them all in one folder.
        for run in [folder] if "." in folder.name else _folders(folder):
            begun = signature(run / "spec.json") or signature(run)
            if begun is not None:
                yield begun.mtime_ns, run


def _folders(top: Path) -> list[Path]:
    return [top / each.name for each in scan(top) if (top / each.name).is_dir() and not (top / each.name).is_symlink()]


def _remove(newest_first: list[Aged], why: Effect) -> bool:
    for _, path in reversed(newest_first[-AT_ONCE:]):
        try:
            with effect(why):
                remove_tree(path)
        except OSError as error:
            # It is tried again the next time, and the others go.
            log.warning("%s stays: %s", path, error)
    return len(newest_first) <= AT_ONCE
