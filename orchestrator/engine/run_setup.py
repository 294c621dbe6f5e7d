"""The project's setup in the tree of a run, where what it depends on has changed since the last one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from orchestrator.adapters.files import remove, write_atomic
from orchestrator.adapters.run_folder import read_bounded
from orchestrator.adapters.run_values import CommandSpec, RunSpec
from orchestrator.adapters.supervised import End, Outcome
from orchestrator.adapters.worktrees import Prepared
from orchestrator.core.attempt_record import RunStatus
from orchestrator.engine.run_state import Run, RunOver, end_text, last_error_line, open_output, supervise
from orchestrator.errors import HostileFileError

SETUP_INPUTS = (
    *(
        "Makefile",
        "makefile",
        "GNUmakefile",
        "justfile",
        "package.json",
        "package-lock.json",
        "npm-shrinkwrap.json",
    ),
    *(
        "pnpm-lock.yaml",
        "yarn.lock",
        "bun.lock",
        "pyproject.toml",
        "setup.py",
        "setup.cfg",
        "requirements.txt",
    ),
    *(
        "requirements-dev.txt",
        "constraints.txt",
        "poetry.lock",
        "uv.lock",
        "Pipfile.lock",
        "Cargo.toml",
        "Cargo.lock",
    ),
    *(
        "go.mod",
        "go.sum",
        "Gemfile.lock",
        "composer.lock",
        "mix.lock",
        "pom.xml",
        "build.gradle",
        "build.gradle.kts",
    ),
)
"""Files at the root of a project that usually decide what its setup installs."""
SETUP_INPUT_BYTES = 16 * 1024 * 1024


def set_up(run: Run, spec: RunSpec, prepared: Prepared, environment: Mapping[str, str]) -> None:
    """Run the project's setup where the tree needs it. Raises RunOver when it does not succeed."""
    if spec.setup is None:
        return
    stamp_file, stamp = _stamp_file(spec), _setup_stamp(spec, environment)
    if _is_set_up(spec, prepared, stamp_file, stamp):
        return
    run.enter("setup", run=spec.setup.run)
    if stamp_file is not None:
        remove(stamp_file)
    with open_output(run.folder.setup_log, os.O_TRUNC) as log:
        outcome = supervise(run, spec, spec.setup, environment, (log, log), spec.limits.output_bytes)
    if outcome.end is End.STOPPED:
        raise RunOver(RunStatus.STOPPED, "The run was asked to stop during the setup.")
    if outcome.end is not End.ENDED or outcome.exit != 0:
        raise RunOver(RunStatus.SETUP_FAILED, _setup_error(spec.setup, outcome))
    if stamp_file is not None:
        write_atomic(stamp_file, stamp.encode(), mode=0o600, sync=False)


def _is_set_up(spec: RunSpec, prepared: Prepared, stamp_file: Path | None, stamp: str) -> bool:
    # What is not kept is swept away between two jobs, and the setup's work with it.
    if stamp_file is None or prepared.fresh or not spec.tree.get("keep"):
        return False
    try:
        return read_bounded(stamp_file, 200)[0].decode("utf-8", "replace") == stamp
    except (OSError, HostileFileError):
        return False


def _stamp_file(spec: RunSpec) -> Path | None:
    """Beside the tree's record, where the agent does not write. None for an exported tree, which is always set up."""
    record = spec.tree.get("record")
    return Path(record).with_suffix(".setup") if record and spec.tree.get("mode") == "work" else None


def _setup_stamp(spec: RunSpec, environment: Mapping[str, str]) -> str:
    """A digest of the setup command and of the files that usually decide what it does."""
    import hashlib  # Slow to load, and most runs have no setup.

    digest = hashlib.sha256(json.dumps([spec.setup.run if spec.setup else "", environment["PATH"]]).encode())
    for name in SETUP_INPUTS:
        try:
            data, more = read_bounded(Path(spec.tree["path"]) / name, SETUP_INPUT_BYTES)
        except FileNotFoundError:
            continue
        except (OSError, HostileFileError) as error:
            data, more = str(error).encode(), False
        digest.update(json.dumps([name, hashlib.sha256(data).hexdigest(), more]).encode())
    return digest.hexdigest()


def _setup_error(setup: CommandSpec, outcome: Outcome) -> str:
    last = last_error_line(outcome)
    why = {
        End.TIMEOUT: f"did not end within {setup.timeout_s:g} s",
        End.OUTPUT_LIMIT: "wrote more than a run may",
        End.NOT_STARTED: outcome.problem,
    }.get(outcome.end, f"ended with {end_text(outcome)}")
    return f"The setup `{setup.run}` {why}" + (f": {last}" if last else "")
