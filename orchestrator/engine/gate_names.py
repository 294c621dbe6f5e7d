"""Which commits a person means: a branch, a tag, a commit, a range, or a pull request whose ref is here already.

Names are only looked up, by a door with a reader, for which no name is an option. Nothing is fetched, and no program
runs that the repository names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.adapters.git import Git
from orchestrator.adapters.git_refs import rev_parse
from orchestrator.core.gated import Named
from orchestrator.errors import NotFoundError, UnavailableError

DEFAULTS = (
    "refs/remotes/origin/HEAD",
    "refs/heads/main",
    "refs/heads/master",
    "refs/remotes/origin/main",
    "refs/remotes/origin/master",
)
"""Where the default branch of a repository is looked for."""
_FULL_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_HEX = re.compile(r"[0-9a-f]+", re.I)
_PULL = re.compile(r"(?:#|!|(?:pr|pull|mr)[ /#-]?)?(?P<number>[1-9][0-9]{0,8})", re.I)
_RANGE = re.compile(r"(?P<base>.+?)\.\.\.?(?P<tip>.+)", re.S)


def split_range(text: str) -> tuple[str, str]:
    """The tip and the base that a person wrote as one word, `BASE..TIP`; the base is '' in any other word."""
    found = _RANGE.fullmatch(text)
    return (found["tip"], found["base"]) if found else (text, "")


def find_named(git: Git, text: str) -> Named:
    """The commit that `text` names; a branch goes before a tag of the same name. Raises NotFoundError."""
    if text in ("HEAD", "@"):
        ref = _symbolic(git, "HEAD")
        commit = _commit(git, "HEAD")
        if commit:
            return Named(_short(ref) if ref else "HEAD", commit, ref)
    for name, ref in _candidates(git, text):
        commit = _commit(git, ref)
        if commit:
            is_ref = ref.startswith("refs/")
            note = _ambiguity(git, ref) if is_ref else _abbreviation(text, commit)
            return Named(name, commit, ref if is_ref else "", note)
    raise _not_found(git, text)


def find_base(git: Git, branch: Named) -> Named:
    """The default branch of the repository, but for the branch itself. Raises NotFoundError."""
    for ref in DEFAULTS:
        target = _symbolic(git, ref) if ref.endswith("/HEAD") else ref
        commit = _commit(git, target) if target and target != branch.ref else ""
        if commit:
            return Named(_short(target), commit, target)
    raise NotFoundError(
        f"it cannot be told what {branch.name} is to be merged into",
        cause="There is no origin/HEAD, main or master beside it.",
        hint=f"orc gate {branch.name} --base BRANCH",
    )


def _candidates(git: Git, text: str) -> Iterator[tuple[str, str]]:
    """What `text` may mean, as people call it and as git does, the likeliest first."""
    if _FULL_ID.fullmatch(text):
        yield text[:12], text
    if text.startswith("refs/"):
        yield _short(text), text
    for folder in ("refs/heads/", "refs/remotes/", "refs/tags/"):
        yield text, folder + text
    yield _short(f"refs/{text}"), f"refs/{text}"
    pull = _PULL.fullmatch(text.strip())
    if pull:
        for ref in _pull_refs(git, pull["number"]):
            yield f"pull request {pull['number']}", ref
    # Git's own reading takes the beginning of any commit's id, so it comes after the names; but HEAD is the one here.
    remote = (f"origin/{text}", f"refs/remotes/origin/{text}")
    yield from ((text, text), remote) if text.startswith("HEAD") else (remote, (text, text))


def _pull_refs(git: Git, number: str) -> list[str]:
    """Refs under which forges and their tools keep a pull request."""
    patterns = [f"refs/pull/{number}/head", f"refs/merge-requests/{number}/head"]
    patterns += [f"refs/remotes/*/{form}" for form in (f"pull/{number}", f"pull/{number}/head", f"pr/{number}")]
    patterns += [f"refs/remotes/*/{form}" for form in (f"merge-requests/{number}", f"merge-requests/{number}/head")]
    return git.text("for-each-ref", "--format=%(refname)", *patterns).splitlines()


def _commit(git: Git, rev: str) -> str:
    return (rev_parse(git, f"{rev}^{{commit}}") or "") if rev else ""


def _symbolic(git: Git, ref: str) -> str:
    found = git.run("symbolic-ref", "--quiet", ref, ok=(0, 1, 128))
    return found.out.decode("utf-8", "surrogateescape").strip() if found.code == 0 else ""


def _ambiguity(git: Git, ref: str) -> str:
    if not ref.startswith("refs/heads/"):
        return ""
    name = ref.removeprefix("refs/heads/")
    same = _commit(git, f"refs/tags/{name}")
    return f"There is a tag {name} too; the branch was taken." if same else ""


def _abbreviation(text: str, commit: str) -> str:
    """What is to be said of a word that is the beginning of a commit's id and may have been meant as something else."""
    if not _HEX.fullmatch(text) or text == commit or not commit.startswith(text.lower()):
        return ""
    return f"{text} was taken for commit {commit[:12]}: no branch, tag or pull request here has that name."


def _short(ref: str) -> str:
    for folder in ("refs/heads/", "refs/remotes/", "refs/tags/", "refs/"):
        if ref.startswith(folder):
            return ref.removeprefix(folder)
    return ref


def _not_found(git: Git, text: str) -> NotFoundError:
    pull = _PULL.fullmatch(text.strip())
    if pull:
        number = pull["number"]
        return NotFoundError(
            f"pull request {number} is not in this repository",
            cause="orc gate fetches nothing: it looks for refs such as refs/pull/N/head.",
            hint=f"git fetch origin +pull/{number}/head:refs/pull/{number}/head",
        )
    if rev_parse(git, "HEAD^{commit}") is None and not git.text("for-each-ref", "--count=1"):
        return NotFoundError(f"there is no branch {text!r}: this repository has no commit yet")
    from difflib import get_close_matches

    known = git.text("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", "refs/remotes").splitlines()
    near = get_close_matches(text, known, n=1)
    return NotFoundError(
        f"there is no branch, tag or commit {text!r}",
        cause="It is not in this repository; orc gate fetches nothing.",
        hint=f"did you mean {near[0]}?" if near else "git fetch, or see git branch --all",
    )


def refuse_unrelated(branch: Named, base: Named, *, is_shallow: bool) -> UnavailableError:
    """The error for two commits without a common ancestor."""
    why = "This clone is shallow: it ends before they meet." if is_shallow else "Their histories are not related."
    hint = "git fetch --unshallow" if is_shallow else f"orc gate {branch.name} --base BRANCH"
    return UnavailableError(f"{branch.name} and {base.name} have no commit in common", cause=why, hint=hint)


def refuse_partial(branch: Named, base: Named, missing: int) -> UnavailableError:
    """The error for a clone in which objects are only promised: to fetch is for its owner, with their own keys."""
    return UnavailableError(
        f"{missing} object{'s' * (missing != 1)} of {branch.name} and {base.name} are not in this clone",
        cause="It is a partial clone (git clone --filter), and orc gate fetches nothing.",
        hint="git fetch --refetch --no-filter origin",
    )
