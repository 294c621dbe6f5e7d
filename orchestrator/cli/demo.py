"""`orc demo`: real jobs go their whole way in a throw-away repository, told for somebody who sees orc."""

from __future__ import annotations

import re
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import App, clean, json_option, pass_app, refuse_inside_run
from orchestrator.errors import ExitCode

if TYPE_CHECKING:
    from orchestrator.cli.board import Board
    from orchestrator.engine.demo import Scene, Stage
    from orchestrator.engine.demo_ends import Claim, EndSeen
    from orchestrator.engine.tick import Engine
    from orchestrator.engine.workspace import Workspace

LONGEST_S = 240.0
"""After this long something is wrong, and the demo stops and says which ends are missing."""
LEDGER_LINES = 25
WIDTH = 118

NOTES = (
    (r"^base: main is checked", "before any work: do the tests pass on main as it is?"),
    (r"^reject: ", "nothing is started; the file is kept in queue/rejected/ with the reason beside it"),
    (r"^start: ", "an agent gets a working copy of its own, and the prompt on its stdin"),
    (r"^evidence: \S+ 0 files", 'the agent said "Done!", git says nothing changed: back, without asking a reviewer'),
    (r"^evidence: .*allowed paths", "a file that the job does not allow: back, without asking a reviewer"),
    (r"^check: ", "orc runs the tests itself, in a clean checkout of exactly that commit"),
    (r"^review: ", "an agent of another family judges, without knowing who made it"),
    (
        r"^verdict: .* inconclusive",
        "no verdict: it must be one JSON object bound to this review; another family is asked",
    ),
    (r"^verdict: .* asks for", "the findings go back to the same agent as numbered fixes"),
    (r"^verdict: raise-the-tax.* approved", "`merge: ask`: from here on it waits for a person"),
    (
        r"^checked: .* fail on the merged tree",
        "each passed alone, together they fail: back, to the new state of main",
    ),
    (r"^done: ", "done means: on main"),
)
"""What a newcomer sees in a step, told the first time such a step comes by."""


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path(".orc-demo"),
    show_default=True,
    help="Where to make the repository; a folder that an earlier demo made is removed first.",
)
@click.option("--keep/--no-keep", default=True, help="Leave the repository to look around in (the default).")
@click.option("--only", multiple=True, hidden=True, help="Play only the scene of this end; may be given again.")
@json_option
@pass_app
def demo(app: App, folder: Path, keep: bool, only: tuple[str, ...]) -> None:
    """Watch real jobs go their whole way, in a throw-away repository.

    No key and no account: the agents are played from a script. The processes, the git repositories, the tests and the
    reviews' binding are real. The exit code is 0 only if every end was reached and the ledger was proved again.
    """
    refuse_inside_run("orc demo")
    from orchestrator.engine.demo import SCENES, clear_stage, make_stage

    unknown = set(only) - {scene.key for scene in SCENES}
    if unknown:
        raise click.UsageError(f"there is no end {min(unknown)!r}; there are {', '.join(s.key for s in SCENES)}")
    scenes = [scene for scene in SCENES if not only or scene.key in only]
    began = time.monotonic()
    teller = Teller(app, folder)
    teller.welcome()
    stage = make_stage((app.start / folder).absolute())
    outcome = play(app, teller, stage, scenes)
    outcome.seconds = time.monotonic() - began
    teller.farewell(stage, outcome, keep=keep)
    if not keep:
        clear_stage(stage.folder)
    app.emit(outcome.to_json(stage), "")
    if outcome.interrupted:
        sys.exit(int(ExitCode.INTERRUPTED))
    if not outcome.good:
        sys.exit(int(ExitCode.FAILED))


@dataclass(slots=True)
class Outcome:
    """What came of it all."""

    ends: list[EndSeen] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    verify: tuple[int, str] = (int(ExitCode.FAILED), "not run")
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def good(self) -> bool:
        """Whether every end was reached and the ledger was proved."""
        return bool(self.ends) and all(end.reached for end in self.ends) and self.verify[0] == ExitCode.OK

    def to_json(self, stage: Stage) -> dict[str, Any]:
        """As `--json` shows it."""
        return {
            "good": self.good,
            "ends": {end.key: {"reached": end.reached, "told": end.told} for end in self.ends},
            "verify": {"code": self.verify[0], "told": self.verify[1]},
            "claims": [asdict(claim) for claim in self.claims],
            "seconds": round(self.seconds, 1),
            "folder": str(stage.root),
        }


def play(app: App, teller: Teller, stage: Stage, scenes: Sequence[Scene]) -> Outcome:
    """Drop the jobs, let the loop work, decide what a person must decide, and look at what came of it."""
    from orchestrator.engine.demo import card_to_approve, drop_jobs, run_orc
    from orchestrator.engine.demo_ends import Audience, claims_of, see_end
    from orchestrator.engine.workspace import open_workspace

    outcome, end_by = Outcome(), time.monotonic() + LONGEST_S
    drop_jobs(stage, scenes)
    teller.dropped(scenes)
    with open_workspace(stage.root) as ws:
        teller.heading("orc run: the loop works until only a person can go on")
        outcome.interrupted = work(app, teller, ws, end_by)
        card = card_to_approve(ws)
        if card and not outcome.interrupted:
            teller.heading("One job waits for a person")
            teller.command(f"orc approve {card}", run_orc(stage, "approve", card)[1])
            teller.line()
            outcome.interrupted = work(app, teller, ws, end_by)
        if outcome.interrupted:
            return outcome
        audience = Audience(ws)
        outcome.ends = [see_end(audience, scene) for scene in scenes]
        outcome.claims = claims_of(audience)
        outcome.verify = run_orc(stage, "verify")
        teller.result(ws, outcome)
    return outcome


def work(app: App, teller: Teller, ws: Workspace, end_by: float) -> bool:
    """Run the real loop until it is idle, showing the board. Returns whether it was interrupted from the keyboard."""
    from orchestrator.cli.board import Board
    from orchestrator.engine.loop import Loop, engine_of, stopped_by_signals

    late = False
    with Board(app, ws, quiet=app.json) as board, engine_of(ws, listener=teller.listener(board)) as engine:

        def look(engine: Engine) -> None:
            nonlocal late
            board.refresh(engine)
            if time.monotonic() > end_by and not engine.stopping:
                late = True
                loop.stop()

        loop = Loop(engine, on_tick=look)
        with stopped_by_signals(loop):
            loop.run(until_idle=True)
        return engine.stopping and not late


class Teller:
    """Says what is going on, for a newcomer. Says nothing with `--json`."""

    def __init__(self, app: App, folder: Path) -> None:
        self._quiet, self._folder = app.json, folder
        console = app.console()
        self._terminal = console.is_terminal
        self._color = console.is_terminal and not console.no_color
        self._told: set[str] = set()
        self._number = 0

    def line(self, text: str = "", **style: Any) -> None:
        """One line, or several."""
        if not self._quiet:
            click.secho(clean(text), color=self._color, **style)

    def heading(self, text: str) -> None:
        """A numbered heading."""
        self._number += 1
        self.line(f"\n{self._number}. {text}", bold=True, fg="cyan")

    def command(self, command: str, said: str) -> None:
        """A command and what it printed."""
        self.line(f"$ {command}", bold=True)
        for line in said.splitlines():
            self.line(textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False))

    def welcome(self) -> None:
        """What this is."""
        self.line("orc demo: files in queue/ become reviewed, tested, merged commits.", bold=True)
        self.line(f"All of it happens in {self._folder}/till, a throw-away repository. The agents are played from a")
        self.line("script (plays.yaml); processes, git, tests, reviews and merges are real.")

    def dropped(self, scenes: Sequence[Scene]) -> None:
        """What lies in the inbox."""
        self.heading("git init, orc init, and these files dropped into queue/inbox/")
        width = max(len(name) for scene in scenes for name in scene.files)
        for scene in scenes:
            for name in scene.files[:-1]:
                self.line(f"  {name}")
            self.line(f"  {scene.files[-1]:<{width}}  {scene.told}")

    def listener(self, board: Board) -> Any:
        """What is called with the subject of every step."""

        def listen(subject: str) -> None:
            board.tell(subject)
            for pattern, note in NOTES:
                if pattern not in self._told and re.search(pattern, subject):
                    self._told.add(pattern)
                    board.tell(f"    -> {note}")

        return listen

    def result(self, ws: Workspace, outcome: Outcome) -> None:
        """The board, the ledger, the proof, and the claims next to the facts."""
        from orchestrator.engine.demo import ledger_lines

        rejected = sorted((ws.paths.queue / "rejected").glob("*.why.txt"))
        if rejected:
            self.heading("Files that are no jobs: kept, with the reason beside them")
        for why in rejected:
            self.command(f"cat queue/rejected/{why.name}", why.read_text("utf-8", "replace"))
        self.heading("The board: what the folders of queue/ show now")
        for line in _queue_lines(ws):
            self.line(f"  {line}")
        self.heading("The ledger: every step is a commit")
        lines, count = ledger_lines(ws, LEDGER_LINES)
        self.command("git log --oneline orc/state", "\n".join(lines))
        self.line(f"  … {count} commits in all" if count > len(lines) else f"  {count} commits in all")
        self.heading("The proof: every decision worked out again from the objects it cites")
        self.command("orc verify", outcome.verify[1])
        self.heading("What was claimed, and what git diff --stat shows")
        for claim in outcome.claims:
            self.line(f'  {claim.job} #{claim.attempt}  "{claim.said[:80]}"')
            self.line(f"      git: {claim.diff}  ->  {claim.outcome}")

    def farewell(self, stage: Stage, outcome: Outcome, *, keep: bool) -> None:
        """Which ends were reached, and where to go from here."""
        if outcome.interrupted:
            self.line("\nInterrupted. Agents that were at work end by themselves.")
            return
        self.heading("What was reached")
        for end in outcome.ends:
            good, bad = ("✓", "✗") if self._terminal else ("ok", "MISSING")
            self.line(f"{good if end.reached else bad} {end.title}", fg="green" if end.reached else "red")
            self.line(f"    {end.told}")
        reached = sum(end.reached for end in outcome.ends)
        self.line(f"\n{reached} of {len(outcome.ends)} ends reached in {outcome.seconds:.0f} s.", bold=True)
        if keep:
            self._look_around()

    def _look_around(self) -> None:
        here = self._folder / "till"
        self.heading("Look around")
        for what, why in (
            (f"cd {here}", "the repository; main holds the merged work"),
            ("git log --graph --oneline main", "what was merged, with who approved it in each message"),
            ("git log orc/state", "every step, with its facts as trailers"),
            ("ls queue/done queue/rejected", "the files that were dropped, and what was said about them"),
            ("cat plays.yaml souls/rex.md", "what the agents play, and who they are"),
        ):
            self.line(f"  {what:<32}  {why}")
        self.line('\nNext: "Your own repository, in five steps" in README.md.')


def _queue_lines(ws: Workspace) -> Iterator[str]:
    """What lies in the lanes of the queue."""
    lanes = {path.name: path for path in ws.paths.queue.iterdir() if path.is_dir()}
    for lane, path in sorted(lanes.items()):
        for entry in sorted(path.iterdir()):
            if not entry.name.startswith("."):
                yield f"{lane:<9} {entry.name}"
