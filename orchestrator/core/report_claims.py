"""What an author's report claims to have made: commits and files.

A false alarm sends honest work back, so only what is said outright is a claim: a sentence in English about the author's
own work in the past tense, or a list under a title such as "Files created". Code blocks and quotations are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

READ_CHARS = 20_000
"""So much of a report is read."""
MOST_PATHS, MOST_COMMITS = 30, 10


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a report claims, as it is written there."""

    made: tuple[str, ...] = ()
    """Paths that were written, added or changed."""
    deleted: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    """Those of the commits that are told as the author's own, so that no earlier one can be meant."""


# Signs of nobody's script, in place of what stands in backticks and links: a path by its number, or other code.
_OPEN, _SHUT, _CODE = "\ue000", "\ue001", "\ue002"
_SIGNS = dict.fromkeys(map(ord, (_OPEN, _SHUT, _CODE)))
_SPAN = re.compile(r"`([^`]{1,300})`|\[([^\[\]]{0,300})\]\(([^()\s]{1,300})\)")
_PATH = re.compile(r"(?:\./)?([\w@.+-]{1,100}(?:/[\w@.+-]{1,100}){0,30})(?:(?:::|[:#])\S*)?\Z")
_FILES = (
    "adoc bash bat c cc cfg cjs conf cpp cs css csv cts cxx docx fish fs gif go gradle graphql h hh hpp htm html ini "
    "ipynb java jpeg jpg js json json5 jsonl jsx kt kts less lua md mdx mjs mts pdf php pl png pptx proto ps1 py pyi "
    "pyx rb rs rst sass scala scss sh sql svelte svg swift tf toml ts tsv tsx txt vue webp xlsx xml yaml yml zsh"
)
_ENDINGS = frozenset(_FILES.split())
"""What ends like this is a file, and no name in a program."""
_LIBRARIES = (
    "alpine asn1 backbone big bignumber bn chart core d3 decimal discord ember express fuse hash highlight hls intro "
    "jquery leaflet mermaid moment next node nuxt p5 pdf peer plotly prism quill react require socket solid sql stripe "
    "three typed underscore video vue web3"
)
_ATTRIBUTES = "obj.* r.* req.* request.* res.* resp.* response.* self.* this.*"
_NO_FILES = frozenset((*_ATTRIBUTES.split(), "discord.py", "web.py", *(f"{name}.js" for name in _LIBRARIES.split())))
"""Something in a program that has an attribute of that name, and libraries."""
_MADE_AGAIN = frozenset({"package-lock.json", "pnpm-lock.yaml", "npm-shrinkwrap.json"})
"""Who says to have deleted these has mostly had them written anew."""
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+){0,5}\.(?:com|dev|edu|gov|io|net|org)", re.I)
_DOT_FOLDERS = frozenset({".github", ".gitlab", ".circleci", ".ci", ".devcontainer", ".vscode", ".config"})
"""Others that begin with a dot are seldom committed."""
_OF_THE_RUN = frozenset({"outbox", "answers"})

_ID = re.compile(r"[0-9a-f]{7,40}|[0-9a-f]{64}")
_HEX = re.compile(r"(?<![\w/@#.:+-])(?:[0-9a-f]{64}|[0-9a-f]{7,40})(?![\w/@+-]|:\S|\.{2}|\.\w)")


def path_of(text: str) -> str:
    """The file of a tree that some code names, '' if it names something else, or nothing for sure."""
    found = _PATH.match(text.strip())
    parts = found[1].split("/") if found else [""]
    stem, _, ending = parts[-1].rpartition(".")
    if not stem or ending.casefold() not in _ENDINGS or any(part in (".", "..") for part in parts):
        return ""
    if len(parts) == 1:
        return "" if _NO_FILES & {f"{stem}.*".casefold(), parts[0].casefold()} else parts[0]
    top = parts[0]
    # What begins with @ is a package, or an alias in the configuration of a compiler.
    is_elsewhere = top.startswith("@") or _HOST.fullmatch(top) is not None
    is_apart = top in _OF_THE_RUN or (top.startswith(".") and top not in _DOT_FOLDERS)
    return "" if is_elsewhere or is_apart else "/".join(parts)


class _Unit(NamedTuple):
    """A title, an item of a list, or a paragraph of something else, with each path as a mark for its number."""

    kind: str
    text: str
    paths: tuple[str, ...]


_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_ITEM = re.compile(r"[ \t]*(?:[-*+\u2022\u2705\u2713\u2714]|\d{1,3}[.)])[ \t]+(?:\[[xX]\][ \t]+)?")
_TITLE = re.compile(r"#{1,6}[ \t]+")


def _units(report: str) -> Iterator[_Unit]:
    kind, lines = "", list[str]()
    for line in (*_prose(report), ""):
        plain = line.strip()
        item, title = _ITEM.match(line), _TITLE.match(line)
        if lines and (not plain or item or title):
            yield _unit(kind, " ".join(lines))
            lines = []
        if title:
            yield _unit("title", line[title.end() :])
        elif item:
            # What is still to be done.
            kind, lines = ("open" if line[item.end() :].startswith("[ ]") else "item"), [line[item.end() :]]
        elif lines:
            lines.append(plain)
        elif plain and not line.startswith(("\t", "    ")):
            kind, lines = "text", [plain]


def _prose(report: str) -> Iterator[str]:
    """The lines without those of code blocks, quotations and tables, in whose place there is an empty one."""
    fence = ""
    for line in report[:READ_CHARS].translate(_SIGNS).splitlines():
        mark = _FENCE.match(line)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) and not line[mark.end() :].strip() else fence
        elif mark and not (mark[1][0] == "`" and "`" in line[mark.end() :]):
            fence = mark[1]
        elif line.lstrip()[:1] not in (">", "|"):
            yield line
            continue
        yield ""


def _unit(kind: str, text: str) -> _Unit:
    paths: list[str] = []

    def mark(found: re.Match[str]) -> str:
        code = (found[1] or "").strip()
        if _ID.fullmatch(code):
            return code
        path = path_of(code or found[3] or "")
        if not path:
            return _CODE
        paths.append(path)
        return f"{_OPEN}{len(paths) - 1}{_SHUT}"

    plain = " ".join(_SPAN.sub(mark, text).split())
    if len(plain) > 4 and plain.startswith("**") and plain.rstrip(":").endswith("**"):
        kind = "title"
    return _Unit(kind, plain.replace("*", ""), tuple(paths))


@dataclass(slots=True)
class _Found:
    """What is found while a report is read."""

    made: dict[str, None] = field(default_factory=dict)
    deleted: dict[str, None] = field(default_factory=dict)
    commits: dict[str, bool] = field(default_factory=dict)
    """Each with whether it is told as the author's own."""
    away: set[str] = field(default_factory=set)
    """Paths of which is said, anywhere, that they were made for the moment, left out, moved or taken back."""
    back: set[str] = field(default_factory=set)
    """Paths of which is said, anywhere, that they came back."""


def claims_in(report: str) -> Claimed:
    """What a report claims. Never raises; what it takes follows the length of the report."""
    found, under = _Found(), ""
    for unit in _units(report):
        is_title = unit.kind == "title" or unit.text.endswith(":")
        if is_title and (listed := _list_of(unit.text)):
            under = listed
            continue
        if unit.kind != "item":
            under = ""
        if _AWAY.search(unit.text):
            found.away.update(unit.paths)
        if _BACK.search(unit.text):
            found.back.update(unit.paths)
        if unit.kind in ("title", "open"):
            continue
        if under:
            _take_item(unit, under, found)
        for sentence in _SENTENCES.split(unit.text):
            _take_paths(sentence, unit.paths, found)
        _take_commits(unit.text, found)
    made = [path for path in found.made if path not in found.away]
    back = found.back | found.made.keys()
    deleted = [path for path in found.deleted if path not in back and path.rpartition("/")[2] not in _MADE_AGAIN]
    commits = list(found.commits)[:MOST_COMMITS]
    return Claimed(
        tuple(made[:MOST_PATHS]),
        tuple(deleted[:MOST_PATHS]),
        tuple(commits),
        frozenset(each for each in commits if found.commits[each]),
    )


# --- in sentences ---

_SENTENCES = re.compile(r"(?<=[.!?;]) ")
_APOSTROPHE = "['\u2019]"
_UNSURE = re.compile(
    r"\b(?:not|never|no|none|nothing|without|would|could|should|might|may|if|when|whenever|unless|until|tried|wanted|"
    r"failed|attempted|instead|rather|example|upstream|vendor\w*|submodules?|elsewhere|outside|another|local|locally|machine|"
    r"already|previously|earlier|before|originally|yesterday|ago|plan|planned|todo|like)\b"
    rf"|n{_APOSTROPHE}t\b|\be\.g|://",
    re.I,
)
_AWAY = re.compile(
    r"\b(?:tempor\w*|scratch|throw-?away|untracked|uncommitted|(?:git-?)?ignor\w*|renam\w*|mov(?:ed|ing)|"
    r"clean(?:ed|s|ing)?[ -]?up|undid|undone|revert\w*|discard\w*|restor\w*|not committed|left out|generated|"
    r"inlin\w*|consolidat\w*|fold(?:ed|ing)|merg(?:ed|ing) (?:in|with)\w*)\b"
    r"|\b(?:delet|remov|dropp)\w* (?:it|them|both|these|those|this|that|again|after\w*|later|everything|all)\b"
    rf"|\b(?:then|later|since|after\w*|was|were|been|is|are) (?:delet|remov|dropp)ed\b(?! ?{_OPEN})"
    rf"|{_SHUT} \((?:delet|remov)ed\b",
    re.I,
)
_BACK = re.compile(
    r"\b(?:again|anew|back|re-?(?:creat|add|writ|generat|install|build)\w*|rewrote|rebuilt|restor\w*|revert\w*|"
    r"replac\w*|new one)\b",
    re.I,
)

_LEAD = r"[^\w\ue000]{0,6}(?:(?:then|also|finally|first|next|now|so|lastly|additionally)\W{1,2})?"
_SELF = rf"(?:(?:i|we)(?:{_APOSTROPHE}ve| have)? (?:(?:also|then|now|newly|just|only) )?)?"
_BEGINS = re.compile(_LEAD + _SELF, re.I)
_OWN = re.compile(_LEAD + _SELF + r"(?:[a-z-]{2,20}ed|wrote|made|built|put|split|gave|took|found|set)\b", re.I)
"""The sentence tells what the author did."""
_GOES_ON = re.compile(rf"(?:\band|,|\bthen|\balso|\bi|\bwe|{_APOSTROPHE}ve|\bhave) \Z", re.I)
_OTHERS = re.compile(
    r"\b(?:that|which|who|it|they|scripts?|programs?|commands?|tests? (?:passed|ran)|tools?|ran|runs?|running|executed|"
    r"called|invoked|started|service|server|build|process|job|checked|tested)\b",
    re.I,
)
"""From here on somebody or something else may be what does it."""

_MANY = rf"{_OPEN}\d+{_SHUT}(?: ?(?:, and|,|and|&|\+) ?{_OPEN}\d+{_SHUT}){{0,30}}"
_FILL = (
    r"(?: (?:a|an|the|one|two|three|both|new|my|small|short|separate|following|files?|modules?|scripts?|tests?|pages?|"
    r"documents?|docs?|migrations?|fixtures?|helpers?|components?|templates?|workflows?)){0,5}"
)
_IN_TESTS = r"(?: (?:a|an|the|one|two|three|new|more|unit|regression|integration|\d{1,4})){0,4} tests? (?:in|to|under)"
_NO_MORE = rf"(?! ?(?:and ?)?[{_OPEN}{_CODE}])"
_MADE = re.compile(
    rf"\b(?:created|added|wrote|introduced|updated|changed|modified|edited|extended|rewrote)"
    rf"(?:{_IN_TESTS}|{_FILL}):? ?({_MANY})"
    rf"(?= ?(?:\Z|[.;:!(\u2013\u2014\u2026]|- |--|,{_NO_MORE})| and\b{_NO_MORE}"
    r"| (?:with|for|that|which|containing|holding|covering|so|because|since|where|using|plus|including)\b"
    r"| to (?!(?:the|a|an|my|your|our|its)\b|\W))",
    re.I,
)
"""Behind the paths the thought is at its end: `config.json` in "added `config.json` parsing" is only spoken of."""
_GONE = re.compile(
    rf"\b(?:deleted|removed){_FILL}:? ?({_MANY})"
    rf"(?= ?(?:\Z|[.;!]|,{_NO_MORE})| and\b{_NO_MORE}| (?:because|since|which)\b)",
    re.I,
)
_NEW = re.compile(
    rf"[^\w{_OPEN}]{{0,6}}(?:{_OPEN}\d+{_SHUT} \((?:new|created|added)\b|new files?:? {_MANY} ?(?:\Z|[.;:(,]))", re.I
)
_NUMBER = re.compile(rf"{_OPEN}(\d+){_SHUT}")


def _take_paths(sentence: str, paths: tuple[str, ...], found: _Found) -> None:
    if not paths or _OPEN not in sentence or _UNSURE.search(sentence):
        return
    if fresh := _NEW.match(sentence):
        found.made.update(_named(fresh[0], paths))
    other = _OTHERS.search(sentence)
    ends = other.start() if other else len(sentence)
    for pattern, into in ((_MADE, found.made), (_GONE, found.deleted)):
        for told in pattern.finditer(sentence):
            if _is_said_of_oneself(sentence, told.start(), ends):
                into.update(_named(told[1], paths))


def _is_said_of_oneself(sentence: str, at: int, ends: int) -> bool:
    """Whether the verb at this place tells what the author did; from `ends` on it may be something else that did it."""
    if at <= 60 and _BEGINS.fullmatch(sentence, 0, at):
        return True
    return (
        at < ends and _OWN.match(sentence) is not None and _GOES_ON.search(sentence[max(0, at - 12) : at]) is not None
    )


def _named(text: str, paths: tuple[str, ...]) -> dict[str, None]:
    numbers = (int(each) for each in _NUMBER.findall(text))
    return {paths[number]: None for number in numbers if number < len(paths)}


# --- in lists ---

_DID = r"(?:created|added|changed|modified|updated|edited|touched|written)"
_JOINED = r" ?(?:and|or|&|/|,) ?"
_WHO = r"(?:(?:that )?(?:i|we) |that were )?"
_LIST_MADE = re.compile(
    rf"(?:new|{_DID})(?:{_JOINED}(?:new|{_DID})){{0,2}} files?"
    rf"|files? {_WHO}{_DID}(?:{_JOINED}{_DID}){{0,2}}|created|written"
    rf"|(?:(?:i|we) )?{_DID} (?:the following|these) files?"
)
_LIST_GONE = re.compile(
    rf"(?:(?:i|we) )?(?:deleted|removed) (?:(?:the following|these) )?files?|files? {_WHO}(?:deleted|removed)|deleted"
)
_BY_ANOTHER = re.compile(r"\bby (?:the|a|an|each|every|its)\b", re.I)
_LONGEST_TITLE = 80
_FIRST = re.compile(
    rf"[^\w{_OPEN}./]{{0,4}}(?:{_OPEN}(\d+){_SHUT}|([\w@.+-]{{1,100}}(?:/[\w@.+-]{{1,100}}){{0,30}}))"
    r"(?=\Z| ?[:,(\u2013\u2014]| ?--| - )"
)


def _list_of(title: str) -> str:
    """What a title says of the list below it: `made`, `deleted`, or '' for anything else."""
    if len(title) > _LONGEST_TITLE:
        return ""
    plain = title.casefold()
    begin = next((at for at, sign in enumerate(plain) if sign.isalpha()), 0)
    end = next((at for at in range(len(plain), 0, -1) if plain[at - 1].isalpha()), 0)
    if _LIST_MADE.fullmatch(plain[begin:end]):
        return "made"
    return "deleted" if _LIST_GONE.fullmatch(plain[begin:end]) else ""


def _take_item(unit: _Unit, under: str, found: _Found) -> None:
    first = _FIRST.match(unit.text)
    if first is None:
        return
    path = unit.paths[int(first[1])] if first[1] and int(first[1]) < len(unit.paths) else path_of(first[2] or "")
    if not path:
        return
    told = unit.text[first.end() : first.end() + 40]
    if under == "made" and not (_UNSURE.search(told) or _BY_ANOTHER.search(told)):
        found.made[path] = None
    elif under == "deleted" and first.end() == len(unit.text):
        found.deleted[path] = None


# --- commits ---

_COMMITTED = re.compile(r"\bcommitted\b", re.I)
_STOPS = (
    r"(?:introduc\w*|since|from|of|that|which|who|revert\w*|for|fix(?:es|ed|ing)|broke\w*|bug|regression|after|until|by|same|"
    r"described|on top)\b"
)
_SURE = r"(?: (?:a|the|one|new|single|commit|revision|hash|id|sha))*[ :#(=]*"
_AS = re.compile(rf"(?: (?!{_STOPS})[^ .;]+){{0,10}} as{_SURE}", re.I)
_IN = re.compile(
    r"(?: (?:it|them|this|these|all|everything|the|my|whole|changes?|work|both|two|files?|result|here|on|to|branch"
    rf"|{_CODE}|\w+/[\w/-]+)){{0,6}}(?: (?:in|at|under|with){_SURE}| ?[:(=\u2013\u2014-]{{1,3}}{_SURE})| ",
    re.I,
)
_SAID_SO = re.compile(
    rf"(?:\band|\bthen|\balso|\bi|\bwe|{_APOSTROPHE}ve|\bhave|\bis|\bare|\bnow|\bwas|\bwere|\bbeen|\ball) \Z", re.I
)
_MADE_COMMIT = re.compile(
    r"\b(?:created|made|pushed|added|recorded) (?:(?:a|the|one|new|single|local) ){0,3}commit \(?", re.I
)
_LABEL = re.compile(r"[^\w]{0,6}(?:(?:new|final|my) )?commits?(?: (?:id|hash|sha|made|created))? ?[:=] ?\W{0,3}", re.I)
_LABEL_ENDS = re.compile(r"\W{0,6}(?:\Z|[(\u2013\u2014\u201c\"]|- |on\b)")
"""What follows an id under such a label: nothing that is said of the commit, but its subject or its branch."""
_BLAMED = re.compile(
    r"\b(?:introduc|bisect|culprit|blam|base|regress|broke|breaks|previous|parent|bad\b|first\b)\w*", re.I
)
_NOT_HERE = re.compile(
    r"\b(?:amend|squash|rebas|reset|cherry|fixup|fork|repo(?:s|sitor)|librar|dependenc|packages?\b|releas|pinn|bump)\w*",
    re.I,
)
"""Rewritten since, or of another repository."""
_FAR = 80


def _take_commits(text: str, found: _Found) -> None:
    if _NOT_HERE.search(text):
        return
    if (label := _LABEL.match(text)) and not (_UNSURE.search(text) or _BLAMED.search(text)):
        id_ = _HEX.match(text, label.end())
        _note_commit(id_ if id_ and _LABEL_ENDS.match(text, id_.end()) else None, found, is_own=False)
    for sentence in _SENTENCES.split(text):
        if _UNSURE.search(sentence):
            continue
        for word in _COMMITTED.finditer(sentence):
            _take_committed(sentence, word, found)
        for told in _MADE_COMMIT.finditer(sentence):
            if _is_said_of_oneself(sentence, told.start(), len(sentence)):
                _note_commit(_HEX.match(sentence, told.end()), found, is_own=False)


def _take_committed(sentence: str, word: re.Match[str], found: _Found) -> None:
    limit = word.end() + _FAR + 65
    id_ = _HEX.search(sentence, word.end(), limit)
    if id_ is None or id_.start() - word.end() > _FAR or id_.end() == limit:
        return
    between, before = sentence[word.end() : id_.start()], sentence[max(0, word.start() - 12) : word.start()]
    is_as = _AS.fullmatch(between) is not None
    if not (is_as or _IN.fullmatch(between)):
        return
    is_first = word.start() <= 60 and _BEGINS.fullmatch(sentence, 0, word.start()) is not None
    if is_first or _SAID_SO.search(before):
        # "Committed in X, the helper was never called" may tell of an earlier commit.
        _note_commit(id_, found, is_own=is_as and is_first)


def _note_commit(id_: re.Match[str] | None, found: _Found, *, is_own: bool) -> None:
    """Take it for a commit, unless it may be a word or a number."""
    if id_ is None or (len(id_[0]) < 40 and (id_[0].isalpha() or id_[0].isdigit())):
        return
    found.commits[id_[0]] = is_own or found.commits.get(id_[0], False)
