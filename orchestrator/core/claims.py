"""The key claims of a research report: where they stand, what each rests on, and which a reviewer looks up again.

A report lists them in a fenced block of YAML that begins with `claims:`. Which of them are looked up follows from the
commit and a random number of the review, so that nobody knows it before the work is done.
"""

from __future__ import annotations

import hashlib
import math
import posixpath
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from urllib.parse import urlsplit

from orchestrator.core.criteria import ClaimRules
from orchestrator.core.evidence_record import Claim, Evidence, Failure
from orchestrator.core.gate import is_program

MOST_CLAIMS, MOST_LISTS = 100, 20
REPORT = "(report)"
"""In place of a path: the agent's final answer, where that is what the job is for."""

_OPEN = re.compile(r"( *)(`{3,}|~{3,})")
_FIRST = re.compile(r"[ \t]*claims[ \t]*:")
_PATH = re.compile(r"(?:\./)?([\w@.+-]+(?:/[\w@.+-]+)*)(?::(\d{1,9})(?:-\d{1,9})?|#\S*)?\Z")
_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,9}\Z")
_DOI = re.compile(r"10\.\d{4,}/")
_HOST = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,24}\Z", re.I)
_DATA = re.compile(
    r"\.(md|markdown|rst|adoc|txt|csv|tsv|jsonl?|ya?ml|toml|xml|html?|ini|cfg|conf|log|ipynb|pdf|docx?|xlsx?|pptx?"
    r"|od[tsp]|png|jpe?g|gif|svg|webp|parquet|sqlite|tex|bib|s?css|vue|proto|patch|diff|zip|gz|tar)\Z",
    re.I,
)
"""Endings of files that are no programs. Names of modules, standards and machines have others."""
_WORD = re.compile(r"\w+")
_NO_PLACE = re.compile(
    r"an?|any|at|by|from|in|is|its?|my|o[fnr]|our|own|the|their|this|that|to|we|with"
    r"|all|different|general|many|multiple|numerous|other|public|several|some|various|well|widely"
    r"|assumption|common|estimate|experience|experts?|facts?|guess|intuition|knowledge|known|memory|opinion|training"
    r"|available|internet|net|online|web|websites?"
    r"|chatgpt|google|literature|publications?|research|search|sources?|stud(?:y|ies)|wikipedia"
    r"|above|(?:any|every|some|no)body|below|everyone|everywhere|here|somewhere|there"
    r"|n|na|none|nothing|null|tb[ad]|todo|unknown|xxx"
)
"""Words that name no place, however many of them stand together."""
_FORM = "Add a fenced yaml block that begins with `claims:`, and give each an `id`, the `claim`, and the `locator`"


def claim_blocks(text: str) -> Iterator[tuple[int, str]]:
    """(line on which it begins, YAML) of every list of claims in a text."""
    fence, indent, begin, inside, is_yaml = "", 0, 0, list[str](), False
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if not fence:
            opens = _OPEN.match(line)
            info = line[opens.end() :] if opens else ""
            # Every block is followed to its end: what closes one in another language opens none. With another mark
            # in its line it is code within a sentence.
            if opens and not (opens[2][0] == "`" and "`" in info):
                fence, indent, begin, inside = opens[2], len(opens[1]), number + 1, []
                is_yaml = info.casefold().split()[:1] in ([], ["yaml"], ["yml"])
            continue
        if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
            if is_yaml and any(_FIRST.match(each) for each in _told(inside)[:1]):
                yield begin, "\n".join(inside) + "\n"
            continue
        inside.append(line[min(indent, len(line) - len(line.lstrip(" "))) :])


def _told(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if line.strip() not in ("", "---") and not line.lstrip().startswith("#")]


def judge_claims(
    claims: tuple[Claim, ...], *, broken: bool, lines_of: Callable[[str], int | None], tree: Collection[str] = ()
) -> tuple[Failure, ...]:
    """What is wrong with a list of claims. `broken`: a list was found that cannot be read, which is told elsewhere.

    `lines_of` gives the lines of a file of the tree, None if there is no such file; `tree` are its files and folders.
    """
    if not claims:
        text = f"The key claims are not listed, so nobody can look them up again. {_FORM}."
        return () if broken else (Failure("missing_claims", text),)
    found = []
    ids: set[str] = set()
    for each in claims:
        if each.id in ids:
            found.append(Failure("claims_form", f"The id {each.id} stands twice.", each.file, each.line))
        ids.add(each.id)
        locator = each.locator.strip()
        is_place = locator in tree or not _names_nothing(locator)
        problem = _locator_problem(each, lines_of, tree) if is_place else _missing(locator)
        if problem:
            rule = "dead_locator" if is_place else "missing_locator"
            found.append(Failure(rule, f"{each.id}: “{_short(each.claim)}” {problem}", each.file, each.line))
    return tuple(found)


def path_of(locator: str) -> str:
    """The file of the tree that a locator names, '' if it names something else."""
    path = _PATH.match(locator.strip())
    if path is None or not ("/" in path[1] or _ENDING.search(path[1])) or _DOI.match(locator.strip()):
        return ""
    return posixpath.normpath(path[1])


def _names_nothing(locator: str) -> bool:
    """Whether nobody could look anything up there: there is no word, or there are only words that name no place."""
    return all(_NO_PLACE.fullmatch(word) for word in _WORD.findall(locator.casefold()))


def _missing(locator: str) -> str:
    told = f"has “{_short(locator)}” for its source, where nobody can look it up" if locator else "names no source"
    return f"{told}. Say where it stands: a URL, path:line, or a work and the place in it."


def _locator_problem(claim: Claim, lines_of: Callable[[str], int | None], tree: Collection[str]) -> str:
    """Why a locator leads nobody to the place, '' if code has nothing against it. No network is asked."""
    locator = claim.locator.strip()
    address = locator.partition(" ")[0]
    if "://" in address:
        return "" if _is_address(address) else f"has the locator {_short(address)}, which is no address."
    name, place = path_of(locator), _PATH.match(locator)
    if not name or place is None:
        return ""  # A book, a paper, a talk: only a reader can tell.
    lines = lines_of(name)
    if name == claim.file:
        return f"rests on {name}, which is where it stands itself."
    if lines is None and not _is_meant_for_a_file(locator, name, place[2] or "", tree):
        return ""
    if lines is None:
        return f"rests on {name}, which is not in this tree."
    if place[2] and not 0 < int(place[2]) <= lines:
        return f"rests on line {place[2]} of {name}, which has {lines}."
    return ""


def _is_meant_for_a_file(locator: str, name: str, line: str, tree: Collection[str]) -> bool:
    """Whether a name that is not in the tree was to be that of a file in it.

    Standards, modules and addresses without `https://` look like paths too: ISO/IEC-9899, math.fsum, example.org/a.
    """
    first, slash, _ = name.partition("/")
    if slash and (first in tree or locator.startswith(".")):
        return True
    if slash and not line and _HOST.match(first):
        return False
    return is_program(name) or _DATA.search(name) is not None


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        return False
    # A name without a dot may be that of a machine of one's own network, if a place on it is named.
    return "." in host.strip(".") or ":" in host or host == "localhost" or bool(host and parts.path.strip("/"))


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= 80 else f"{plain[:79]}…"


def choose_claims(claims: tuple[Claim, ...], wanted: ClaimRules | None, seed: str) -> tuple[Claim, ...]:
    """The claims that a reviewer looks up again, in the order of the report; the same for the same seed."""
    if wanted is None or not claims:
        return ()
    # Rounded first: 0.3 times 10 is a little more than 3.
    count = min(len(claims), max(wanted.least, math.ceil(round(wanted.share * len(claims), 6))))
    ranked = sorted(claims, key=lambda each: hashlib.sha256(f"{seed}\0{each.id}".encode()).digest())
    chosen = {each.id for each in ranked[:count]}
    return tuple(each for each in claims if each.id in chosen)


def claims_asked(evidence: Evidence, draw: str) -> tuple[Claim, ...]:
    """The claims that a review of this evidence looks up again; `draw` is that of its record."""
    asked = evidence.kind_checks
    return choose_claims(evidence.claims, asked.claims if asked else None, f"{draw}\0{evidence.tip}")
