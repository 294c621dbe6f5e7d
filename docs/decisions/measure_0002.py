"""The measurement of decision 0002: three ways to write small blobs, in one run. Run it with orc's own Python."""

from __future__ import annotations

import io
import os
import random
import statistics
import subprocess  # noqa: TID251 - a measurement, not a part of orc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from git import Repo
from gitdb import IStream

from orchestrator.adapters.objects import opened

ROUNDS, BLOBS, PER_PROCESS, PER_STEP = 7, 400, 70, 7


def make_blobs(count: int, seed: int) -> list[bytes]:
    """Blobs of some 600 bytes that no other seed makes."""
    chance = random.Random(seed)
    return ["\n".join(f"key-{chance.random()}: {chance.random()}" for _ in range(14)).encode() for _ in range(count)]


def fast_import(git_dir: Path, blobs: list[bytes]) -> None:
    """One process for every seventy blobs, which is what a tick with ten steps writes."""
    for at in range(0, len(blobs), PER_PROCESS):
        text = b"".join(b"blob\ndata %d\n%s\n" % (len(data), data) for data in blobs[at : at + PER_PROCESS])
        command = ["git", "--git-dir", str(git_dir), "fast-import", "--quiet", "--done"]
        subprocess.run(command, input=text + b"done\n", check=True)


def main() -> None:
    """Print the medians."""
    with tempfile.TemporaryDirectory() as folder:
        git_dir = Path(folder) / "repository.git"
        subprocess.run(["git", "init", "--quiet", "--bare", str(git_dir)], check=True)
        with opened(git_dir) as objects, Repo(git_dir) as repo:

            def ours(blobs: list[bytes]) -> None:
                for at in range(0, len(blobs), PER_STEP):
                    for data in blobs[at : at + PER_STEP]:
                        objects.write("blob", data)
                    objects.store()

            def one_pack(blobs: list[bytes]) -> None:
                for data in blobs:
                    objects.write("blob", data)
                objects.store()

            def gitpython(blobs: list[bytes]) -> None:
                for data in blobs:
                    repo.odb.store(IStream("blob", len(data), io.BytesIO(data)))

            ways: dict[str, Callable[[list[bytes]], None]] = {
                "Objects, seven loose ones at a time": ours,
                "Objects, one pack": one_pack,
                "GitPython's store": gitpython,
                "git fast-import": lambda blobs: fast_import(git_dir, blobs),
            }
            ours(make_blobs(1000, -1))  # so that the 256 folders are there for everybody
            took: dict[str, list[float]] = {name: [] for name in ways}
            for number in range(ROUNDS * len(ways)):
                name = list(ways)[number % len(ways)]
                blobs = make_blobs(BLOBS, number)
                began = time.perf_counter()
                ways[name](blobs)
                took[name].append((time.perf_counter() - began) / BLOBS * 1000)
    for name, times in took.items():
        print(f"{name:<18} {statistics.median(times):.3f} ms a blob ({min(times):.3f} to {max(times):.3f})")
    ratio = statistics.median(took["GitPython's store"]) / statistics.median(took["Objects.write"])
    print(f"GitPython's store takes {ratio:.1f} times as long as Objects.write; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
