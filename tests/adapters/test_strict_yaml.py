"""Strict YAML: what people write is read, hostile text is refused, what is written is read back."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.adapters import strict_yaml
from orchestrator.adapters.strict_yaml import Document, dump, load, load_mapping, replace_unsafe
from orchestrator.errors import InvalidFileError

ROOT = Path(strict_yaml.__file__).parents[2]

JOB = """\
# what a person writes
title: Fix the login
needs: [a, b]
review:
  rounds: 3
  items:
    - id: one
      required: yes
    -
      id: two
task: |
  First line.

  \tA line with a tab: and a colon # not a comment
"""

# (what it is, content, line, words of the reason)
HOSTILE: list[tuple[str, bytes | str, int, str]] = [
    ("billion laughs", "a: &a [x]\nb: [*a, *a]\n", 1, "anchor"),
    ("alias", "a: *b\n", 1, "alias"),
    ("recursive alias", "&a [*a]\n", 1, "anchor"),
    ("merge key", "x: 1\n<<: {a: 1}\n", 2, "merge key"),
    ("merge key bomb", "a: &a {x: 1}\n<<: [*a, *a]\n", 1, "anchor"),
    ("100,000 brackets", "[" * 100_000, 1, "nested more than 24"),
    ("250,000 brackets", b"[" * 250_000, 1, "nested more than 24"),
    ("deep mappings", "{a: " * 50_000, 1, "nested more than 24"),
    ("deep dashes", "- " * 100_000, 1, "nested more than 24"),
    ("deep block mappings", "".join(" " * n + "a:\n" for n in range(300)), 25, "nested more than 24"),
    ("duplicate key", "state: review\nx: 1\nstate: approved\n", 3, "first on line 1"),
    ("duplicate nested key", "a:\n  - {b: 1, b: 2}\n", 2, "first on line 2"),
    ("duplicate quoted key", "a: 1\n'a': 2\n", 2, "first on line 1"),
    ("line separator", "a: 1\nb: x\u2028state: approved\n", 2, "invisible line break (U+2028)"),
    ("paragraph separator", "a: x\u2029state: approved\n", 1, "invisible line break (U+2029)"),
    ("next line", "a: x\x85state: approved\n", 1, "invisible line break (U+0085)"),
    ("lone carriage return", "a: x\rstate: approved\n", 1, "carriage return"),
    ("escape", "a: \x1b[31m\n", 1, "control character (U+001B)"),
    ("c1 control", "a: \x9b31m\n", 1, "control character (U+009B)"),
    ("nul", b"a: \0\n", 1, "control character (U+0000)"),
    ("delete", "a: \x7f\n", 1, "control character (U+007F)"),
    ("bell", "a: b\nc: \x07\n", 2, "control character (U+0007)"),
    ("escaped escape", 'a: "\\e[31m"\n', 1, "control character (U+001B)"),
    ("escaped nul", 'a: b\nc: "\\0"\n', 2, "control character (U+0000)"),
    ("escaped line separator", 'a: "\\L"\n', 1, "invisible line break"),
    ("escaped control in a key", '"\\x1b": 1\n', 1, "control character"),
    ("bidi control", "a: \u202eevil\n", 1, "direction of the text (U+202E)"),
    ("bidi isolate", "a: \u2066evil\n", 1, "direction of the text (U+2066)"),
    ("escaped bidi control", 'a: "\\u202e"\n', 1, "direction of the text"),
    ("lone surrogate", "a: \ud800\n", 1, "lone surrogate"),
    ("escaped surrogate", 'a: "\\uD800"\n', 1, "no known character"),
    ("surrogate as bytes", b"a: \xed\xa0\x80\n", 1, "not UTF-8"),
    ("not UTF-8", b"a: 1\nb: \xff\n", 2, "not UTF-8"),
    ("UTF-16 with a mark", "a: 1\n".encode("utf-16"), 1, "byte order mark"),
    ("UTF-16 without a mark", "a: 1\n".encode("utf-16-le"), 1, "control character (U+0000)"),
    ("UTF-8 mark", b"\xef\xbb\xbfa: 1\n", 1, "byte order mark"),
    ("mark within", "a: 1\n\ufeffb: 2\n", 2, "U+FEFF"),
    ("5,000 digits", "a: 1\nb: " + "9" * 5_000 + "\n", 2, "5000 digits"),
    ("19 digits", "a: -1234567890123456789\n", 1, "19 digits"),
    ("float too large", "a: 1.0e999\n", 1, "too large"),
    ("python tag", "a: !!python/object/apply:os.system [x]\n", 1, "tag"),
    ("binary tag", "a: !!binary aGk=\n", 1, "tag"),
    ("unknown tag", "a: !thing x\n", 1, "tag"),
    ("bare tag", "a: ! x\n", 1, "tag"),
    ("tag on a list", "a: !!set {x}\n", 1, "tag"),
    ("two documents", "a: 1\n---\nb: 2\n", 2, "second document"),
    ("directive", "%YAML 1.1\n---\na: 1\n", 1, "directive"),
    ("many directives", "".join(f"%TAG !a{n}! x\n" for n in range(15_000)), 1, "directive"),
    ("merge conflict", "a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> x\n", 2, "merge conflict"),
    ("half a conflict", "a: 1\r\n>>>>>>> x\r\n", 2, "merge conflict"),
    ("tab", "a:\n\tb: 1\n", 2, "indented with a tab"),
    ("tab after spaces", "a:\n  b: 1\n  \tc: 2\n", 3, "indented with a tab"),
    ("open quote", "a: 1\nb: 'x\nc: 2\n", 2, "quote is opened here"),
    ("open bracket", "a: 1\nb: [x\nc: 2\n", 2, "not closed"),
    ("two colons", "a: 1\nb: c: d\n", 2, "`: ` stands where no key can be"),
    ("backtick", "a: `x`\n", 1, "means something in YAML"),
    ("unknown escape", 'a: "\\q"\n', 1, "backslash"),
    ("number as a key", "1: x\n", 1, "key 1 is not text"),
    ("nothing as a key", "? \n: x\n", 1, "key (nothing) is not text"),
    ("list as a key", "? [a]\n: x\n", 1, "key is a list or a mapping"),
    ("huge anchor", "&" + "a" * 100_000 + " x", 1, "anchor &aaa"),
    ("too many values", "[" + "a," * 100_000 + "]", 1, "more than 20000"),
    ("too large", b"a" * 262_145, 0, "at most 256 KiB"),
    ("20 MB", "a: " + "b" * 20_000_000, 0, "at most 256 KiB"),
]


@pytest.mark.parametrize(("data", "line", "words"), [case[1:] for case in HOSTILE], ids=[c[0] for c in HOSTILE])
def test_hostile_text_is_refused_with_its_line_and_a_hint_in_time(data: bytes | str, line: int, words: str) -> None:
    started = time.monotonic()
    with pytest.raises(InvalidFileError) as caught:
        load(data, file="job.yaml")
    assert time.monotonic() - started < 1.0
    assert words in str(caught.value)
    assert (caught.value.file, caught.value.line) == ("job.yaml", line)
    assert caught.value.hint
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text",
    ["no", "yes", "on", "off", "y", "010", "0123", "1:30", "1e3", "0x1f", "0o17", "0b1", "1_000",
    "2024-01-01",
     "2024-99-99", "2024-01-01T00:00:00Z", ".inf", "-.inf", ".nan", "=", "1.", ".5", "12e45678", "+",
     "-x", "tRUE"],
)  # fmt: skip
def test_what_other_readers_twist_stays_text(text: str) -> None:
    assert load(f"a: {text}\n").value == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("0", 0), ("-12", -12),
    ("+7", 7),
     ("999999999999999999", 999_999_999_999_999_999), ("1.5", 1.5), ("-0.25", -0.25), ("1.0e+3", 1000.0),
     ("'1'", "1"), ('"true"', "true"), ("''", ""), ("[]", []), ("{}", {}), ('"\\u00e9\\t"', "é\t")],
)  # fmt: skip
def test_a_value_has_the_type_that_a_person_expects(text: str, value: object) -> None:
    found = load(f"a: {text}\n").value["a"]
    assert found == value
    assert type(found) is type(value)


def test_every_key_and_item_has_its_line() -> None:
    document = load(JOB.encode(), file="job.yaml")
    assert document.value == {
        "title": "Fix the login",
        "needs": ["a", "b"],
        "review": {"rounds": 3, "items": [{"id": "one", "required": "yes"}, {"id": "two"}]},
        "task": "First line.\n\n\tA line with a tab: and a colon # not a comment\n",
    }
    expected = {
        (): 2,
        ("title",): 2,
        ("needs",): 3,
        ("needs", 0): 3,
        ("needs", 1): 3,
        ("review",): 4,
        ("review", "rounds"): 5,
        ("review", "items"): 6,
        ("review", "items", 0): 7,
        ("review", "items", 0, "id"): 7,
        ("review", "items", 0, "required"): 8,
        ("review", "items", 1): 10,
        ("review", "items", 1, "id"): 10,
        ("task",): 11,
    }
    assert document.lines == expected


def test_lines_count_from_the_first_line_given_in_values_and_in_errors() -> None:
    assert load("a: 1\nb: 2\n", first_line=5).lines == {(): 5, ("a",): 5, ("b",): 6}
    with pytest.raises(InvalidFileError, match=r"soul\.md:6: a: is given twice, first on line 5"):
        load("a: 1\na: 2\n", file="soul.md", first_line=5)


def test_windows_line_ends_emoji_and_joined_emoji_are_accepted() -> None:
    data = "a: 1\r\nb: |\r\n  x\r\n  y\r\nc: 👩‍💻 café\r\n".encode()
    assert load(data).value == {"a": 1, "b": "x\ny\n", "c": "👩‍💻 café"}


def test_markers_that_are_no_conflict_are_text() -> None:
    text = "a: |\n  <<<<<<< HEAD\n  =======\n  >>>>>>> x\nb: '%'\n"
    assert load(text).value["a"] == "<<<<<<< HEAD\n=======\n>>>>>>> x\n"


def test_the_size_limit_counts_bytes_and_is_exact() -> None:
    assert load("é", max_bytes=2).value == "é"
    with pytest.raises(InvalidFileError, match="is 2 bytes; at most 1 bytes"):
        load("é", max_bytes=1)


def test_24_levels_are_read_and_25_are_not() -> None:
    assert load("[" * 24 + "]" * 24).value
    with pytest.raises(InvalidFileError):
        load("[" * 25 + "]" * 25)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "is empty"), ("# nothing\n", "is empty"), ("---\n", "is empty"), ("null\n", "is empty"),
     ("\n- a\n", "holds a list"), ("word\n", "holds a single value")],
)  # fmt: skip
def test_a_file_of_keys_must_hold_keys(text: str, words: str) -> None:
    assert isinstance(load(text), Document)
    with pytest.raises(InvalidFileError, match=rf"job\.yaml.*{words}"):
        load_mapping(text, file="job.yaml")


def test_a_mapping_is_read_and_may_begin_with_three_dashes() -> None:
    assert load_mapping("---\na: 1\n...\n").value == {"a": 1}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.binary(max_size=300),
        st.text(max_size=200),
        st.text(alphabet="ab01:-?[]{}#&*!|>'\"%@`,\\ \t\r\n.<~", max_size=200),
        st.builds(
            lambda piece, count: piece * count,
            st.text(alphabet="a:-?[]{}#&*!|>'\"%,\\ \t\r\n.", min_size=1, max_size=6),
            st.integers(1, 20_000),
        ),
    )
)
def test_any_bytes_become_a_document_or_an_error_for_people(data: bytes | str) -> None:
    load(b"a: 1")  # imports and caches are not measured
    started = time.perf_counter()
    try:
        document = load(data)
    except InvalidFileError as error:
        reason = error.reason
    else:
        reason = json.dumps(document.value)
        assert load(dump(document.value)).value == document.value
    assert time.perf_counter() - started < 2.0
    assert reason


_TWISTED = [
    "", " ", "\n", "\n\n", "no", "y", "N", "on", "null", "~", "True", "010", "0o17", "0x1f", "0b11",
    "1_000", "1:30",
    "190:20:30.15", "2024-01-01", "2001-12-14t21:59:43.10-05:00", "1e3", "1.5e3", ".5", "5.", "+1",
    ".inf", "-.INF",
    ".NaN", "<<", "=", "...", "---", "--- a", "... a", "a:", "a: b", "a #b", "- a\nb", "a\n  ",
    "\ta\nb", " \n a",
    "\n\ta\n", "a\n\n\n", "\r\n", "a\rb\nc", "7f3a09c2", "12345678", "@a", "`a`", "%a", "!a", "&a",
    "*a", "? a",
    "👩‍💻 a\n😀", "x" * 2_000, "x " * 2_000, "trailing \nspace ", "#\n#", "\\n", "'\"",
]  # fmt: skip
_CHARACTERS = st.characters(
    exclude_categories=["Cs", "Cc"],
    exclude_characters="\u2028\u2029\ufeff\ufffe\uffff\u202a\u202b\u202c\u202d\u202e"
    "\u2066\u2067\u2068\u2069", include_characters="\n\t\r",
)  # fmt: skip
_TEXTS = st.one_of(
    st.sampled_from(_TWISTED),
    st.text(_CHARACTERS, max_size=30),
    st.text(alphabet="ab01eE_-+.:, #\n\t '\"|>%?[]{}\\", max_size=30),
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**18) + 1, 10**18 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    _TEXTS,
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_TEXTS, inner, max_size=4)),
    max_leaves=15,
)


def _typed(value: Any) -> str:
    return repr(value)  # tells 1 from True and from 1.0, and the order of keys


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_VALUES)
def test_what_is_written_is_read_back_by_us_and_by_others(value: Any) -> None:
    text = dump(value)
    assert _typed(load(text).value) == _typed(value)
    assert _typed(yaml.safe_load(text)) == _typed(value)
    assert dump(load(text).value) == text


@pytest.mark.parametrize("text", _TWISTED)
def test_text_that_other_readers_twist_is_written_safely(text: str) -> None:
    value = {text: [text, {"a": text}], "b": text}
    assert load(dump(value)).value == value
    assert yaml.safe_load(dump(value)) == value
    assert yaml.safe_load(dump(text)) == text


def test_written_text_is_for_people() -> None:
    value = {
        "title": "Fix it, please (soon): é 😀",
        "id": "fix-login-7f3a09c2",
        "mixed": [1, 1.5, 1e30, None, True, "no"],
        "task": "a\n\n\ttab and 😀\n  b \n",
        "items": [{"id": "x", "text": "a\nb"}, [], {}, [[1]]],
    }
    assert dump(value) == (
        "title: \"Fix it, please (soon): é 😀\"\n"
        "id: fix-login-7f3a09c2\n"
        "mixed:\n  - 1\n  - 1.5\n  - 1.0e+30\n  - null\n  - true\n  - \"no\"\n"
        "task: |\n  a\n\n  \ttab and 😀\n    b \n"
        "items:\n  - id: x\n    text: |-\n      a\n      b\n  - []\n  - {}\n  - - - 1\n"
    )  # fmt: skip


def test_a_long_line_is_not_folded() -> None:
    assert dump({"a": "word " * 500 + "end"}).count("\n") == 1


def test_tuples_and_enums_are_written_as_plain_values() -> None:
    kind = StrEnum("kind", {"CODE": "code"})
    assert dump({"k": kind.CODE, "t": (1, 2)}) == "k: code\nt:\n  - 1\n  - 2\n"


_LOOP: list[Any] = []
_LOOP.append(_LOOP)


@pytest.mark.parametrize(
    "value",
    ["\x1b[31m", "\ud800", "a\n\u2028", float("nan"), float("inf"), 10**18, _LOOP, [0] * 20_001, {"\x00": 1}],
    ids=["escape", "surrogate", "separator", "nan", "inf", "long", "loop", "many", "key"],
)
def test_what_could_not_be_read_back_is_not_written(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        dump({"a": value})


@pytest.mark.parametrize("value", [{1: "a"}, {"a": b"x"}, {"a": {1, 2}}, {"a": object()}, {None: 1}])
def test_what_is_no_plain_value_is_not_written(value: Any) -> None:
    with pytest.raises(TypeError):
        dump(value)


def test_the_deepest_value_that_is_written_is_the_deepest_that_is_read() -> None:
    for depth in (24, 25):
        value: Any = []
        for _ in range(depth - 1):
            value = [value]
        if depth == 24:
            assert load(dump(value)).value == value
        else:
            with pytest.raises(ValueError, match="nested"):
                dump(value)


@given(st.text(st.characters(), max_size=50))
def test_replaced_text_can_always_be_written(text: str) -> None:
    cleaned = replace_unsafe(text)
    assert len(cleaned) == len(text)
    assert load(dump({"a": cleaned})).value == {"a": cleaned}


def test_an_ordinary_job_file_is_read_in_the_time_promised() -> None:
    text = JOB + "".join(f"  Line {n} of a task that a person wrote for an agent.\n" for n in range(25))
    data = text.encode()
    assert 1_400 < len(data) < 1_700
    times = []
    for _ in range(50):
        started = time.perf_counter()
        load(data)
        times.append(time.perf_counter() - started)
    assert min(times) < 0.0015 * (1 if hasattr(yaml, "CSafeLoader") else 10)


_CHILD = """
import json, sys
if sys.argv[1] == "python":
    sys.modules["yaml._yaml"] = sys.modules["_yaml"] = None  # as on a machine without the C library
import yaml
from orchestrator.adapters.strict_yaml import dump, load
from orchestrator.errors import InvalidFileError
assert hasattr(yaml, "CSafeLoader") == (sys.argv[1] == "c")
answers = []
for text in json.load(sys.stdin):
    try:
        document = load(text)
        answers.append([document.value, sorted(map(repr, document.lines.items())), dump(document.value)])
    except InvalidFileError as error:
        answers.append([error.line, bool(error.reason)])
print(json.dumps(answers))
"""


@pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="PyYAML was built without its C library")
def test_the_answers_are_the_same_with_and_without_the_c_parser() -> None:
    texts = [JOB, *(dump({"a": text}) for text in _TWISTED if len(text) < 100)]
    texts += [data for _, data, _, _ in HOSTILE if isinstance(data, str) and len(data) < 1_000]
    answers = []
    for parser in ("c", "python"):
        run = subprocess.run(
            [sys.executable, "-c", _CHILD, parser],
            input=json.dumps(texts),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        answers.append(json.loads(run.stdout))
    assert len(answers[0]) == len(texts)
    for text, in_c, in_python in zip(texts, *answers, strict=True):
        assert in_c == in_python, text
