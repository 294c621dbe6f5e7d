"""People who drop, edit, move, copy and delete, agents that end in every way, engines that die: in any order.

A Hypothesis state machine on a real workspace with real ticks, real runs and real kills. Whatever it does, nothing that
a person wrote is lost, no job is in two places, and the ledger can be proved.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from crash_helpers import World, check_ledger, check_repository, check_runs, jobs_by_name, make_world
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestrator.adapters.effects import Effect
from orchestrator.adapters.ledger import REF
from orchestrator.adapters.ledger_snapshot import Folder
from orchestrator.core.job import Lane, State
from orchestrator.core.transitions import Actor
from orchestrator.engine.answer import cancel_job, give_answer, open_card, retry_job
from orchestrator.engine.edit import hold_jobs, release_jobs
from orchestrator.engine.loop import engine_of, is_idle
from orchestrator.engine.tick import Engine, tick
from orchestrator.engine.workspace import Workspace, open_workspace
from orchestrator.errors import OrcError

PERSON = Actor("human:Ada")
PATIENCE_S = 60.0
LONG_AGO_S = 60.0
PLAYS = """\
plays:
- match: {{kind: attempt, title: empty}}
  run: {begin}; {end}
  say: I found nothing to do.
- match: {{kind: attempt, title: breaks}}
  run: {begin}; echo "half = 1" > "${{ORC_JOB%-*}}.py"; {end}
  stderr: it is too hot in here
  exit: 1
- match: {{kind: attempt}}
  run: {begin}; echo "made = '$ORC_RUN'" > "${{ORC_JOB%-*}}.py"; {end}
  say: done
- match: {{kind: review, title: prose, number: 1}}
  run: {begin}; {end}
  reply: Looks good to me!
- match: {{kind: review, title: revise, number: 1}}
  run: {begin}; {end}
  verdict: REVISE
  findings: [{{severity: blocking, problem: half, fix: make it whole}}]
- match: {{kind: review}}
  run: {begin}; {end}
  verdict: APPROVED
"""
OUTCOMES = ("good", "empty", "breaks", "prose", "revise")
GARBAGE = (".notes.yaml.swp", "4913", "#notes.yaml#", "notes.yaml~", ".#notes.yaml", "notes.txt")
LANES = st.sampled_from([lane for lane in Lane if lane is not Lane.REJECTED])
PICK = st.integers(min_value=0, max_value=1_000)


class People(RuleBasedStateMachine):
    """One workspace, the people around it, and what they wrote."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(dir=self.template.parent))
        self.stack = ExitStack()
        self.engine: Engine | None = None
        self.pending: set[str] = set()
        """What was written since all last came to rest."""
        self.kept: set[str] = set()
        self.marks = 0
        self.seen: dict[str, tuple[int, int]] = {}
        """The seq and the starts that each job had when it was last looked at."""

    @initialize()
    def begin(self) -> None:
        shutil.copytree(self.template, self.place, dirs_exist_ok=True, symlinks=True)
        for name in ("agent.sh", "plays.yaml"):
            self.repoint(self.place / "outside" / name)
        self.world = World(self.place / "work", self.place / "outside")
        self.repoint(self.world.root / "orc.yaml")
        self.world.commit("where the scripts lie")
        self.open()

    def repoint(self, path: Path) -> None:
        path.write_text(path.read_text().replace(str(self.template), str(self.place)))

    def open(self) -> None:
        self.stack = ExitStack()
        self.ws: Workspace = self.stack.enter_context(open_workspace(self.world.root))
        self.engine = self.stack.enter_context(engine_of(self.ws))

    def teardown(self) -> None:
        try:
            if self.engine is not None:
                self.work()
                check_ledger(self.world)
                check_runs(self.world)
                check_repository(self.world)
        finally:
            self.stack.close()
            shutil.rmtree(self.place)

    # --- what people do to files ---

    def mark(self) -> str:
        """A word that stands nowhere else."""
        self.marks += 1
        word = f"mark{self.marks:04d}x"
        self.pending.add(word)
        return word

    def files(self) -> list[Path]:
        """Files that a person sees in `queue/`, but for those in `rejected/`."""
        lanes = [self.world.root / "queue" / lane for lane in Lane if lane is not Lane.REJECTED]
        found = [path for lane in lanes if lane.is_dir() for path in lane.iterdir()]
        return sorted(path for path in found if _is_a_persons(path))

    def pick(self, number: int) -> Path | None:
        files = self.files()
        return files[number % len(files)] if files else None

    def write(self, path: Path, data: bytes) -> None:
        """As an editor saves: all at once, and a while ago, so that nobody waits for the rest."""
        fresh = self.world.outside / "fresh"
        fresh.write_bytes(data)
        moment = time.time() - LONG_AGO_S + self.marks / 1000
        os.utime(fresh, (moment, moment))
        path.parent.mkdir(parents=True, exist_ok=True)
        os.rename(fresh, path)

    @rule(outcome=st.sampled_from(OUTCOMES), markdown=st.booleans(), lane=LANES, ask=st.booleans())
    def drop(self, outcome: str, markdown: bool, lane: Lane, ask: bool) -> None:
        word = self.mark()
        head = f"title: {outcome}\nmerge: {'ask' if ask else 'auto'}\nlimits: {{attempts: 2}}\n"
        text = f"---\n{head}---\nDo {word}.\n" if markdown else f"{head}prompt: Do {word}.\n"
        name = f"{outcome}{self.marks}.{'md' if markdown else 'yaml'}"
        self.write(self.world.root / "queue" / lane / name, text.encode())

    @rule(name=st.sampled_from(GARBAGE), lane=LANES)
    def leave_what_editors_leave(self, name: str, lane: Lane) -> None:
        self.write(self.world.root / "queue" / lane / name, b"b0VIM 9.0")

    @rule(data=st.binary(max_size=60), lane=LANES)
    def drop_nonsense(self, data: bytes, lane: Lane) -> None:
        word = self.mark()
        self.write(self.world.root / "queue" / lane / f"odd{self.marks}.yaml", data + b"\n[" + word.encode())

    @rule(number=PICK, how=st.sampled_from(["comment", "title", "prompt", "break", "forge", "empty"]))
    def edit(self, number: int, how: str) -> None:
        if (path := self.pick(number)) is None:
            return
        data = path.read_bytes()
        if how == "empty":
            self.forget(data)
            self.write(path, b"")
            return
        line = f"# {self.mark()}\n".encode()
        at = len(b"---\n") if data.startswith(b"---\n") else 0
        data = data[:at] + line + data[at:]
        change = {"title": (b"title: ", b"title: also "), "prompt": (b"Do ", b"Do carefully "), "break": (b"# ", b"[ ")}
        old, new = change.get(how, (b"", b"")) if how != "forge" else (b"  state: ready", b"  state: done")
        self.write(path, data.replace(old, new, 1) if old else data)

    @rule(number=PICK, lane=LANES)
    def move(self, number: int, lane: Lane) -> None:
        path = self.pick(number)
        if path is not None and not (target := self.world.root / "queue" / lane / path.name).exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)

    @rule(number=PICK, lane=LANES, name=st.sampled_from(["copy", "same"]))
    def copy(self, number: int, lane: Lane, name: str) -> None:
        if (path := self.pick(number)) is None:
            return
        target = self.world.root / "queue" / lane / (path.name if name == "same" else f"copy{number}{path.suffix}")
        if not target.exists():
            self.write(target, path.read_bytes())

    @rule(number=PICK)
    def delete(self, number: int) -> None:
        if (path := self.pick(number)) is not None:
            self.forget(path.read_bytes())
            path.unlink()

    def forget(self, data: bytes) -> None:
        """A person takes back what nobody has looked at yet."""
        self.pending = {word for word in self.pending if word.encode() not in data}

    # --- what people decide ---

    def jobs(self) -> list[Folder]:
        return [folder for found in jobs_by_name(self.ws).values() for folder in found]

    def pick_job(self, number: int) -> Folder | None:
        jobs = sorted(self.jobs(), key=lambda folder: folder.job.id)
        return jobs[number % len(jobs)] if jobs else None

    @rule(number=PICK, option=PICK, words=st.sampled_from(["", "make it better", "- one\n- two"]))
    def answer(self, number: int, option: int, words: str) -> None:
        asked = [each for each in self.jobs() if each.job.state is State.DECIDE]
        if asked:
            job, card = open_card(self.ws, asked[number % len(asked)].job.id)
            with suppress(OrcError):
                give_answer(self.ws, job, card, card.options[option % len(card.options)].key, words, PERSON)

    @rule(number=PICK, answer=st.sampled_from(["approve", "drop", "revise", "retry", "sing"]))
    def fill_in_a_card(self, number: int, answer: str) -> None:
        cards = [path for path in self.files() if ".card-" in path.name and b"\nanswer:" in b"\n" + path.read_bytes()]
        if cards:
            path = cards[number % len(cards)]
            word = self.mark()
            lines = path.read_text().splitlines()
            given = [f"answer: {answer}" if line.startswith("answer:") else line for line in lines]
            given = [f'message: "{word}"' if line.startswith("message:") else line for line in given]
            self.write(path, ("\n".join(given) + "\n").encode())
            if word not in path.read_text():
                self.pending.discard(word)

    @rule(number=PICK)
    def cancel(self, number: int) -> None:
        if folder := self.pick_job(number):
            with suppress(OrcError):
                cancel_job(self.ws, folder.job, PERSON, "not needed")

    @rule(number=PICK)
    def retry(self, number: int) -> None:
        if folder := self.pick_job(number):
            with suppress(OrcError):
                retry_job(self.ws, folder.job, PERSON)

    @rule(number=PICK)
    def hold_or_release(self, number: int) -> None:
        if folder := self.pick_job(number):
            id_, is_held = folder.job.id, folder.job.spec.hold is not None
            with suppress(OrcError):
                release_jobs(self.ws, [id_], PERSON) if is_held else hold_jobs(self.ws, [id_], "not now", PERSON)

    @rule()
    def commit_to_main(self) -> None:
        self.marks += 1
        (self.world.root / f"own{self.marks}.py").write_text("own = 1\n")
        self.world.git("add", f"own{self.marks}.py")
        self.world.commit("the person's own work")

    # --- what happens ---

    @rule()
    def tick(self) -> None:
        assert self.engine is not None
        tick(self.engine)
        assert not [each for each in self.engine.problems.values() if "defect" in each], self.engine.problems

    @rule()
    def work(self) -> None:
        """Tick until nothing moves any more, then hold everything against everything."""
        assert self.engine is not None
        deadline = time.monotonic() + PATIENCE_S
        while tick(self.engine) or self.engine.look_again is not None or not is_idle(self.engine):
            assert time.monotonic() < deadline, f"it does not come to rest: {self.engine.problems}"
            time.sleep(0.02)
        assert self.engine.problems == {}
        self.check_at_rest()

    @rule(effect=st.sampled_from(list(Effect)), side=st.sampled_from(["before", "after"]))
    def die(self, effect: Effect, side: str) -> None:
        """An engine that dies at this point, or has done one tick if it does not come to it."""
        self.stack.close()
        self.world.kill_at = [f"{effect}:{side}"]
        self.world.orc("run", "--once", "--quiet")
        self.world.kill_at = []
        self.open()

    @rule()
    def start_again(self) -> None:
        self.stack.close()
        self.open()

    @precondition(lambda self: self.engine is not None and is_idle(self.engine))
    @rule(folders=st.sampled_from([("queue",), ("state",), ("queue", "state")]))
    def lose(self, folders: tuple[str, ...]) -> None:
        if "queue" in folders:
            for path in self.files():
                self.forget(path.read_bytes())
        for folder in folders:
            rejected = self.world.root / folder / Lane.REJECTED
            if rejected.is_dir():  # It is no view of the ledger: deleting it takes back what it kept.
                for path in rejected.iterdir():
                    self.kept = {word for word in self.kept if word.encode() not in path.read_bytes()}
                    self.forget(path.read_bytes())
            shutil.rmtree(self.world.root / folder, ignore_errors=True)

    # --- what must hold ---

    @invariant()
    def nothing_counted_falls(self) -> None:
        if self.engine is None:
            return
        for folder in self.ws.ledger.snapshot().folders.values():
            at = folder.job.at
            seq, starts = self.seen.get(at.id, (0, 0))
            assert at.seq >= seq
            assert at.starts >= starts
            self.seen[at.id] = (at.seq, at.starts)

    def check_at_rest(self) -> None:
        jobs = self.jobs()
        self.check_shown(jobs)
        self.check_done(jobs)
        self.check_steps(jobs)
        self.check_kept()

    def check_shown(self, jobs: list[Folder]) -> None:
        """`queue/` shows the ledger, and nothing is left half done."""
        queue = self.world.root / "queue"
        shown = {queue / folder.job.lane / folder.job.file_name: folder for folder in jobs}
        found = {path for path in self.files() if ".card-" not in path.name and ".review-" not in path.name}
        strays = {path: path.read_bytes() for path in found - set(shown)}
        assert found == set(shown), f"{strays}\n{self.world.ledger_log()}"
        for path, folder in shown.items():
            assert path.read_bytes() == self.ws.ledger.objects.read(folder.records["#job"])
        odd = [path.name for path in queue.rglob(".*") if path.name.startswith((".accept-", ".tmp-"))]
        assert odd == []
        kept = [path for path in (queue / Lane.REJECTED).iterdir() if _is_a_persons(path)]
        assert [path.name for path in kept if not path.with_name(f"{path.name}.why.txt").exists()] == []

    def check_done(self, jobs: list[Folder]) -> None:
        """What is done was approved, and exactly that is on the target."""
        merged = self.world.git("log", "main", "--format=%(trailers:key=Orc-Job,valueonly,separator=%x2C)").split()
        for folder in jobs:
            job = folder.job
            assert merged.count(job.id) == (job.state is State.DONE), job.id
            if job.state is State.DONE:
                assert job.at.approved == job.at.tip
                self.world.git("merge-base", "--is-ancestor", job.at.approved, job.at.merged)
                self.world.git("merge-base", "--is-ancestor", job.at.merged, "main")

    def check_steps(self, jobs: list[Folder]) -> None:
        """Each step of each job is one commit of the ledger, and the next."""
        form = "%(trailers:key=Job,valueonly,separator=%x2C) %(trailers:key=Seq,valueonly,separator=%x2C)"
        steps: dict[str, list[int]] = {}
        for line in self.world.git("log", "--reverse", f"--format={form}", REF).splitlines():
            words = line.split()
            if len(words) == 2:
                steps.setdefault(words[0], []).append(int(words[1]))
        assert steps == {folder.job.id: list(range(1, folder.job.at.seq + 1)) for folder in jobs}

    def check_kept(self) -> None:
        """Each word that a person wrote is in the ledger, or in `rejected/`, or still where they wrote it."""
        history = self.ws.ledger.git.run("log", "-p", "--no-renames", "--text", REF).out
        places = [*(self.world.root / "queue" / Lane.REJECTED).iterdir(), *self.files()]
        everything = history + b"".join(path.read_bytes() for path in places)
        self.kept |= self.pending
        self.pending = set()
        lost = sorted(word for word in self.kept if word.encode() not in everything)
        assert lost == [], f"{lost} is nowhere"


def _is_a_persons(path: Path) -> bool:
    return path.suffix in (".yaml", ".yml", ".md") and not path.name.startswith((".", "#"))


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A workspace that each example gets a copy of."""
    place = tmp_path / "template"
    make_world(place, plays=PLAYS)
    return place


def run_machine(template: Path, *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        type("PeopleHere", (People,), {"template": template}),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            # A smaller example takes minutes to find here: each step is a real one.
            phases=(Phase.generate,),
            report_multiple_bugs=False,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_people_agents_and_crashes_in_any_order(template: Path) -> None:
    run_machine(template, examples=12, steps=20)


@pytest.mark.torture
@pytest.mark.timeout(7200)
def test_people_agents_and_crashes_in_any_order_for_long(template: Path) -> None:
    run_machine(template, examples=120, steps=40)
