"""Prose by rule: what counts as prose, and for each rule what it must refuse and what it must let pass."""

from __future__ import annotations

import pytest
from growth import LINEAR, growth
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.claims import claim_blocks
from orchestrator.core.criteria import Duplicates, Length, Spelling
from orchestrator.core.prose import (
    MOST_FAILURES,
    Document,
    anchors_of,
    count_words,
    dead_links,
    duplicate_passages,
    is_english,
    misspellings,
    prose_lines,
    read_prose,
    without_code,
    wrong_lengths,
)

PASSAGE = "one two three four five six seven eight nine ten eleven twelve"
LIST = {"recieved": "received", "teh": "the", "wich": "which", "als": "also, as"}
ENGLISH = "This is the text that all of it stands in, and it is as plain as it can be for the reader. "


def documents(*texts: str) -> list[Document]:
    return [Document(f"{number}.md", text) for number, text in enumerate(texts, 1)]


# --- what is prose ---


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain words", "plain words"),
        ("```\ncode\n```\nwords", "words"),
        ("~~~ python\ncode\n```\nmore code\n~~~\nwords", "words"),
        ("````\n```\ncode\n```\n````\nwords", "words"),
        ("- item\n\n  ```\n  code\n  ```\n  words", "- item words"),
        ("```\ncode without an end", ""),
        ("words\n\n    code\n    code\n\nwords", "words words"),
        ("- item\n\n    its second paragraph", "- item its second paragraph"),
        ("words\n    that go on", "words that go on"),
        ("words `code` words", "words words"),
        ("words ``code ` code`` words", "words words"),
        ("one ` tick", "one ` tick"),
        ("a <!-- comment\non two lines --> b", "a b"),
        ("---\ntitle: x\n---\nwords", "words"),
        ("---\nno end\n", "--- no end"),
        ("---\nprose between two rules\n---\nwords", "--- prose between two rules --- words"),
        ("---\ntags:\n  - a\n- b\n# note\n\n---\nwords", "words"),
        ("a `<!--` mark hides nothing", "a mark hides nothing"),
        ("```\n<!--\n```\nwords", "words"),
        ("a <!-- without an end", "a <!-- without an end"),
        ("<!-- to the end\nof the text", ""),
        ("[words](https://example.invalid/a_(b)) more", "[words] more"),
        ("[1]: https://example.invalid/\nwords", "words"),
        ("see https://example.invalid/path, please", "see please"),
        ("write to a.b@example.invalid now", "write to now"),
        ("a <b class='x'>bold</b> word", "a bold word"),
    ],
)
def test_code_markup_and_addresses_are_no_prose(text: str, left: str) -> None:
    assert " ".join(" ".join(prose_lines(text)).split()) == left


@given(st.text(alphabet="ab `~-#>[]()<!\n\t|:/\\.'\u2019*_{}0", max_size=200))
def test_every_line_of_a_text_keeps_its_number(text: str) -> None:
    lines = text.replace("\r\n", "\n").count("\n") + 1
    assert len(prose_lines(text)) == len(without_code(text)) == lines


@pytest.mark.parametrize(
    "part", ["`", "` ``", "<", "](", "[", "a@", "<!--", "x<!--", "a'", "(", "#", "# ", "| ", "x:", " ", "\t"]
)
@pytest.mark.parametrize(("before", "after"), [("", ""), ("# ", "x"), ("# x", "x"), ("```", "x"), ("[a](#b) ", "")])
def test_no_text_takes_the_square_of_its_length(before: str, part: str, after: str) -> None:
    def read(size: int) -> None:
        text = before + part * (size // len(part)) + after
        document = [Document("a.md", text)]
        list(claim_blocks(text))
        prose_lines(text)
        anchors_of(text)
        duplicate_passages(document, Duplicates(5))
        misspellings(document, Spelling(), LIST)
        dead_links(document, lambda path: True)

    assert growth(read, 25_000) < LINEAR


# --- pages in HTML ---


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<p>plain words</p>", "plain words"),
        ("<p class='x'\n   id='y'>two\nlines</p>", "two lines"),
        ("a<!-- comment\nof two lines -->b", "a b"),
        ("a <!-- without an end", "a"),
        ("<style>p {}</style><script>if (a<b) { c('<p>') }</script>words", "words"),
        ("<nav><ul><li>menu</li></ul></nav>words<footer>foot</footer>", "words"),
        ("<table><tr><td>a<table><tr><td>b</table>c</table>words", "words"),
        ("<!DOCTYPE html>\n<html><head><title>x</title></head>\n<body>words</body></html>", "words"),
        ("<pre>code</pre></nav>words<pre>code without an end", "words"),
        ("one&nbsp;two &amp; three &#169; a & b", "one two three a & b"),
        ("see https://example.invalid/path now", "see now"),
        ("    four blanks are no code", "four blanks are no code"),
    ],
)
def test_of_a_page_its_own_words_are_prose(text: str, left: str) -> None:
    assert " ".join(" ".join(read_prose("a.HTML", text)).split()) == left
    assert len(read_prose("a.htm", text)) == text.count("\n") + 1


@given(st.text(alphabet="ab<>/!-&;#\"'\n= pretab", max_size=200))
def test_every_line_of_a_page_keeps_its_number(text: str) -> None:
    assert len(read_prose("a.html", text)) == text.count("\n") + 1


@pytest.mark.parametrize(
    "part", ["<", "<!--", "<pre>", "</pre>", "<a ", "&", "&#", "<script><!--", ">", "<!", "<p>x</p>"]
)
def test_no_page_takes_the_square_of_its_length(part: str) -> None:
    def read(size: int) -> None:
        page = Document("a.html", part * (size // len(part)))
        duplicate_passages([page], Duplicates(5))
        misspellings([page], Spelling(), LIST)

    assert growth(read, 25_000) < LINEAR


def test_many_pages_do_not_take_the_square_of_their_number() -> None:
    def read(size: int) -> None:
        pages = [Document(f"{number}.html", f"<p>{PASSAGE}</p>" * 40, PASSAGE * 40) for number in range(size)]
        duplicate_passages(pages, Duplicates(5))

    assert growth(read, 40) < LINEAR


# --- passages ---


def test_a_passage_that_stands_twice_is_refused_with_both_places() -> None:
    (failure,) = duplicate_passages(documents(f"# A\n\n{PASSAGE} end.\n\nmore\n\n{PASSAGE} stop.\n"), Duplicates(10))
    assert (failure.rule, failure.place) == ("duplicate_passage", "1.md:7")
    assert failure.text.startswith("12 words stand here that stand in 1.md:3 already: “one two three")


@pytest.mark.parametrize(
    "texts",
    [
        (PASSAGE,),
        (f"{PASSAGE}\n\nother words\n", "one two three four five six seven eight nine"),
        (f"{PASSAGE}\n\n```\n{PASSAGE}\n```\n",),
        (f"| {PASSAGE} |\n| {PASSAGE} |\n",),
        (f"{PASSAGE} and `{PASSAGE}`",),
    ],
)
def test_what_stands_once_in_prose_is_let_pass(texts: tuple[str, ...]) -> None:
    assert duplicate_passages(documents(*texts), Duplicates(10)) == ()


@pytest.mark.parametrize(
    "texts",
    [
        (f"{PASSAGE}\n{PASSAGE}",),
        (PASSAGE, f"Otherwise: {PASSAGE}"),
        (f"{PASSAGE}\n\nThen\n\n**{PASSAGE.upper()}**",),
        (f"{PASSAGE}\n\n" + PASSAGE.replace(" ", ",\n"),),
        ("ha " * 40,),
    ],
)
def test_case_marks_line_ends_and_another_file_hide_no_repetition(texts: tuple[str, ...]) -> None:
    assert len(duplicate_passages(documents(*texts), Duplicates(10))) == 1


def test_a_repetition_that_stood_there_before_does_not_stop_new_work() -> None:
    old = f"{PASSAGE}\n\n{PASSAGE}\n"
    assert duplicate_passages([Document("a.md", f"{old}\nnew\n", old)], Duplicates(10)) == ()
    assert len(duplicate_passages([Document("a.md", f"{old}\n{PASSAGE}\n", old)], Duplicates(10))) == 1
    moved = [Document("a.md", None, old), Document("b.md", old)]
    assert duplicate_passages(moved, Duplicates(10)) == ()


def test_each_repeated_passage_is_told_once_and_not_without_end() -> None:
    lines = [f"{PASSAGE} {number}" for number in range(40)]
    found = duplicate_passages(
        documents("\n\n".join(f"{line}\n\nnext {n}" for n, line in enumerate(lines))), Duplicates(12)
    )
    assert len(found) == MOST_FAILURES + 1
    assert found[-1].text == "And 19 more of the same kind."


def test_a_page_is_held_against_itself_alone() -> None:
    twice = f"<p>{PASSAGE}</p>\n<p>and</p>\n<p>{PASSAGE}</p>\n"
    assert [each.place for each in duplicate_passages([Document("a.html", twice)], Duplicates(10))] == ["a.html:3"]
    once = f"<p>{PASSAGE}</p>\n"
    others = [Document("a.md", PASSAGE), Document("a.html", once), Document("b.html", once)]
    assert duplicate_passages(others, Duplicates(10)) == ()
    assert duplicate_passages([Document("a.html", None, twice), Document("b.html", twice)], Duplicates(10)) == ()


def test_a_page_is_spelled_and_counted_without_its_markup() -> None:
    page = Document("a.html", f"<p class='teh'>{ENGLISH}</p>\n<p>It is recieved</p>\n")
    assert [each.place for each in misspellings([page], Spelling(), LIST)] == ["a.html:2"]
    assert count_words("<p id='x'>two words</p>", "a.html") == 2


# --- spelling ---


def test_a_misspelling_is_refused_once_with_its_line_and_the_right_word() -> None:
    text = f"{ENGLISH}\n\nIt is recieved here.\n\nRecieved again.\n"
    (failure,) = misspellings(documents(text), Spelling(), LIST)
    assert (failure.rule, failure.place) == ("misspelling", "1.md:3")
    assert failure.text == "“recieved” is misspelled; right would be: received."


@pytest.mark.parametrize("words", ["Teh form.", "- Teh form", "It is so. Teh form", "the wich", "wich, of", "als."])
def test_a_misspelling_at_the_start_of_a_sentence_is_one_too(words: str) -> None:
    assert len(misspellings(documents(f"{ENGLISH}\n\n{words}\n"), Spelling(), LIST)) == 1


@pytest.mark.parametrize(
    "words",
    [
        "`teh` is code",
        "the Teh family",
        "the TEH unit",
        "teh_name and x.teh and teh/a and --teh and teh() and teh=1",
        "https://example.invalid/teh",
        "[the page](teh.md)",
        "    \n\n    teh\n",
        "<teh>",
        "teh2",
    ],
)
def test_code_names_abbreviations_and_addresses_are_not_spelled(words: str) -> None:
    assert misspellings(documents(f"{ENGLISH}\n\n{words}\n"), Spelling(), LIST) == ()


def test_only_words_that_the_change_added_are_refused() -> None:
    old = f"{ENGLISH} It was teh old way.\n"
    assert misspellings([Document("a.md", f"{ENGLISH}\nIt was\nteh old way, and more.\n", old)], Spelling(), LIST) == ()
    moved = [Document("a.md", None, old), Document("b.md", old)]
    assert misspellings(moved, Spelling(), LIST) == ()
    assert len(misspellings([Document("a.md", f"{old} wich", old)], Spelling(), LIST)) == 1


def test_words_that_the_criteria_call_right_are_right() -> None:
    assert misspellings(documents(f"{ENGLISH} teh"), Spelling(words=("Teh",)), LIST) == ()


def test_a_text_in_another_language_is_left_alone() -> None:
    german = "Das Formular ist größer als der Umschlag, und deshalb wird es vom Amt nur einmal gefaltet. " * 3
    assert not is_english(german)
    assert not is_english("")
    assert is_english(ENGLISH)
    assert misspellings(documents(german), Spelling(), LIST) == ()


# --- length ---


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (None, 5, True),
        (None, 10, False),
        (None, 20, False),
        (None, 21, True),
        (8, 9, False),
        (8, 7, True),
        (8, 8, False),
        (30, 25, False),
        (30, 31, True),
        (30, 30, False),
        (15, 5, True),
    ],
)
def test_a_length_is_refused_unless_the_change_brings_it_nearer(before: int | None, after: int, refused: bool) -> None:
    document = Document("a.md", "word " * after, None if before is None else "word " * before)
    found = wrong_lengths([document], Length(10, 20))
    assert [each.rule for each in found] == (["length"] if refused else [])


def test_words_of_code_do_not_count() -> None:
    assert count_words("two words\n\n```\nand some more\n```\n") == 2


# --- links ---

TREE = {"docs", "docs/a.md", "docs/b.md", "docs/img.png", "docs/img dir/x.png", "README.md", "src", "src/x.py", "."}


def dead(text: str, *, path: str = "docs/a.md", before: str | None = None) -> list[str]:
    others = [
        Document(
            "docs/b.md",
            "# The Way\n\nWays\n====\n\n## The way\n\n<a id='here'></a>\n\n# _Stressed_ word\n\nRun `it`\n---\n",
        )
    ]
    return [each.place for each in dead_links([Document(path, text, before), *others], TREE.__contains__)]


@pytest.mark.parametrize(
    "link",
    [
        "[x](b.md)",
        "[x](./b.md)",
        "[x](../README.md)",
        "[x](../src/)",
        "[x](../src)",
        "[x](b)",
        "[x](b.html)",
        "![x](img.png)",
        '[x](b.md "a title")',
        "[x](<b.md>)",
        "[x](b.md?raw=1)",
        "[x](b.md#the-way)",
        "[x](b.md#the-way-1)",
        "[x](b.md#ways)",
        "[x](b.md#here)",
        "[x](b.md#stressed-word)",
        "[x](b.md#run-it)",
        "[x](#top)",
        "[x](<img dir/x.png>)",
        "[note]: this is a note",
        "[x](#title)",
        "[x](%62.md)",
        "[x]: b.md",
        "[^1]: A note (see below)",
        "[x](https://example.invalid/gone)",
        "[x](mailto:a@example.invalid)",
        "[x](/served/from/the/top)",
        "[x]({{ site.url }}/a)",
        "`[x](gone.md)`",
        "[x](../src/x.py#L10)",
    ],
)
def test_a_link_that_leads_somewhere_or_elsewhere_is_let_pass(link: str) -> None:
    assert dead(f"# Title\n\n{link}\n") == []


@pytest.mark.parametrize(
    "link",
    [
        "[x](gone.md)",
        "[x](../docs/gone)",
        "![x](gone.png)",
        "[x]: gone.md",
        "[x](b.md#gone)",
        "[x](#gone)",
        "[x](../../a)",
        "[x](<gone dir/x.png>)",
        "[x]: gone.md 'a title'",
    ],
)
def test_a_link_that_leads_nowhere_is_refused_with_its_line(link: str) -> None:
    assert dead(f"# Title\n\n{link}\n") == ["docs/a.md:3"]


def test_a_dead_link_that_stood_there_before_does_not_stop_new_work() -> None:
    assert dead("# Title\n\n[x](gone.md)\n\nmore\n", before="[x](gone.md)\n") == []


def test_a_page_of_links_to_its_own_heading_is_read_once() -> None:
    assert dead("# Title\n\n" + "[a](#title)\n" * 8_000) == []


def test_links_of_what_is_no_markdown_are_not_looked_at() -> None:
    assert dead("[x](gone.md)", path="docs/a.txt") == []
