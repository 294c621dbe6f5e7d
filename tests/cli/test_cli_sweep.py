"""`orc sweep` on real trees: what nobody uses goes, and no work goes with it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import cli_world as w
import pytest

OLD = time.time() - 30 * 86_400


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A workspace in which a job was merged, so that there is a tree of each sort."""
    root = w.new_workspace(tmp_path / "work", merge="auto")
    w.submit(root, "title: greet\nprompt: greet\n", name="greet")
    w.orc(root, "run", "--until-idle", "--quiet", code=0)
    return root


def records(root: Path) -> list[Path]:
    found = [*(root / ".git/orc/trees").glob("[!.]*.json"), *(root / "state/trees").glob(".*/*/*.json")]
    assert len(found) >= 3
    return found


def age(root: Path) -> None:
    for record in records(root):
        os.utime(record, (OLD, OLD))


def trees(root: Path) -> list[str]:
    folder = root / "state" / "trees"
    found = [path for path in [*folder.glob("[!.]*/*"), *folder.glob(".*/*/*")] if path.is_dir()]
    return sorted(str(path.relative_to(folder)) for path in found)


def test_what_is_in_use_stays(used: Path) -> None:
    before = trees(used)
    assert "worker/main" in before
    assert w.orc(used, "sweep", code=0).out == "Nothing lies unused for 14 days.\n"
    assert trees(used) == before


def test_a_dry_run_names_the_same_and_touches_nothing(used: Path) -> None:
    age(used)
    before = trees(used)
    planned = w.orc(used, "sweep", "--dry-run", "--json", code=0).json()["swept"]
    assert trees(used) == before
    assert not any(each["gone"] or each["why"] for each in planned)
    done = w.orc(used, "sweep", "--json", code=0).json()["swept"]
    assert [each["where"] for each in done] == [each["where"] for each in planned]
    assert all(each["gone"] for each in done)
    assert trees(used) == []
    assert w.orc(used, "sweep", code=0).out == "Nothing lies unused for 14 days.\n"


def test_the_next_job_builds_a_new_tree(used: Path) -> None:
    age(used)
    w.orc(used, "sweep", code=0)
    (used / "plays.yaml").write_text(w.GREET.replace("hello", "more"))
    w.git(used, "commit", "--quiet", "--all", "-m", "more")
    id_ = w.submit(used, "title: greet\nprompt: greet\n", name="again")
    w.orc(used, "run", "--until-idle", "--quiet", code=0)
    assert "done" in w.orc(used, "show", id_, code=0).out


def test_work_that_was_left_in_a_tree_is_under_a_ref_before_it_goes(used: Path) -> None:
    (used / "state/trees/worker/main/late.txt").write_text("written after the end\n")
    age(used)
    (done,) = [each for each in w.orc(used, "sweep", "--json", code=0).json()["swept"] if each["what"] == "tree"]
    assert done["gone"]
    (note,) = done["notes"]
    ref = note.split(" under ")[1].split()[0]
    shown = w.git(used / ".git/orc/mirrors/main.git", "show", f"{ref}:late.txt")
    assert shown == "written after the end"


def test_a_tree_whose_work_cannot_be_saved_stays(used: Path) -> None:
    age(used)
    # Its objects are what the work would be compared with, and saved in.
    mirror = used / ".git/orc/mirrors/main.git"
    mirror.rename(mirror.with_name("gone.git"))
    found = {each["what"]: each for each in w.orc(used, "sweep", "--json", code=0).json()["swept"]}
    assert not found["tree"]["gone"]
    assert found["tree"]["why"]
    assert "worker/main" in trees(used)


@pytest.mark.parametrize("place", ["run.clean:before", "run.clean:after"])
def test_a_kill_in_between_is_made_good_by_the_next(used: Path, place: str) -> None:
    (used / "state/trees/worker/main/late.txt").write_text("written after the end\n")
    age(used)
    assert w.orc(used, "sweep", env={"ORC_KILL_AT": place}).code == -9
    w.orc(used, "sweep", code=0)
    assert trees(used) == []
    refs = w.git(used / ".git/orc/mirrors/main.git", "for-each-ref", "--format=%(refname)", "refs/orc/rescue/")
    assert len(refs.splitlines()) == 1


def test_a_link_in_the_place_of_a_pool_leads_to_nothing_of_the_person(used: Path, tmp_path: Path) -> None:
    """An agent without a sandbox may put one there: what is emptied is to be the engine's own."""
    mine = tmp_path / "mine" / "photos"
    for pool in ("a", "b"):
        (mine / pool).mkdir(parents=True)
        (mine / pool / "1").mkdir()
        (mine / pool / "1" / "one.jpg").write_text("the only one")
        (mine / pool / "1.json").write_text("{}")
        os.utime(mine / pool / "1.json", (OLD, OLD))
    reviews = used / "state/trees/.reviews"
    (reviews / "more").symlink_to(mine / "a")
    (used / "state/trees/.checks").rename(used / "state/trees/.old")
    (used / "state/trees/.checks").symlink_to(mine)
    age_all = [*(used / ".git/orc/trees").glob("[!.]*.json"), *reviews.glob("main/*.json")]
    for record in age_all:
        os.utime(record, (OLD, OLD))
    swept = w.orc(used, "sweep", "--json", code=0).json()["swept"]
    assert (mine / "a/1/one.jpg").read_text() == (mine / "b/1/one.jpg").read_text() == "the only one"
    assert [each["where"] for each in swept if each["what"] == "checkout" and each["gone"]] == [
        str(path.with_suffix("").relative_to(used)) for path in sorted(age_all) if ".reviews" in str(path)
    ]


def test_what_is_in_a_pool_and_no_export_stays(used: Path) -> None:
    age(used)
    (record,) = (used / "state/trees/.reviews").glob("*/1.json")
    other = record.with_name("other")
    other.mkdir()
    (other / "mine").write_text("mine")
    (record.with_name("other.json")).write_bytes(record.read_bytes())
    os.utime(record.with_name("other.json"), (OLD, OLD))
    w.orc(used, "sweep", code=0)
    assert (other / "mine").read_text() == "mine"


def test_of_a_copy_of_a_workspace_the_first_one_keeps_its_trees(used: Path, tmp_path: Path) -> None:
    age(used)
    copy = Path(shutil.copytree(used, tmp_path / "copy", symlinks=True))
    before = trees(used)
    found = {each["what"]: each for each in w.orc(copy, "sweep", "--json", code=0).json()["swept"]}
    assert (found["tree"]["gone"], found["checkout"]["gone"]) == (False, True)
    assert trees(used) == before


def test_a_record_that_names_another_folder_is_not_believed(used: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_text("the only one")
    (record,) = (used / ".git/orc/trees").glob("[!.]*.json")
    tree = used / "state/trees/worker/main"
    record.write_text(record.read_text().replace(str(tree), str(tmp_path / "photos")))
    age(used)
    (found,) = [each for each in w.orc(used, "sweep", "--json", code=0).json()["swept"] if each["what"] == "tree"]
    assert not found["gone"]
    assert found["why"] == "it is no tree of this workspace: was that copied or moved?"
    assert (tmp_path / "photos" / "one.jpg").exists()
