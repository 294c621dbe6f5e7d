"""Which names of models mean one model, and whose it is: by dates, aliases and proxies nobody becomes another.

The forms are those in which the providers publish their names: a date or `latest` behind a name, a name without its
version that means the newest, and prefixes and suffixes of the services that pass a model on.
"""

from __future__ import annotations

import re

_PROXY = re.compile(r"\A(?:(?:us|eu|apac|jp|au|global)\.)?(?:[a-z][a-z0-9]*\.)(?=[a-z])")
"""A region and a provider before a name, as the service of a cloud has them."""
_DATE = r"20\d{6}|20\d\d-\d\d-\d\d|\d{4}"
_SERVICE = r":(?:free|beta|nitro|floor|online|extended|thinking|\d+)"
_WINDOW = r"\[\d+[km]\]"
"""The size of its context, which some programs put behind a name."""
_TAIL = re.compile(rf"(?:-v\d+|{_SERVICE}|{_WINDOW}|[-@](?:{_DATE}|latest|default|preview(?:-\d\d-\d\d)?))\Z")
_MAKERS = (
    ("anthropic", r"claude|opus|sonnet|haiku"),
    ("openai", r"gpt|chatgpt|codex|o\d"),
    ("google", r"gemini|gemma"),
    ("meta", r"llama"),
    ("mistral", r"mistral|mixtral|codestral|devstral|magistral|ministral|pixtral"),
    ("alibaba", r"qwen|qwq"),
    ("deepseek", r"deepseek"),
    ("xai", r"grok"),
    ("moonshot", r"kimi|moonshot"),
    ("zhipu", r"glm"),
)
_MAKER = re.compile("|".join(rf"(?P<{maker}>\A(?:{heads})(?![a-z]))" for maker, heads in _MAKERS))


def plain_model(name: str) -> str:
    """A model's name without who passes it on, without its date and without its capitals."""
    plain = name.casefold().strip().rpartition("/")[2]
    plain = _PROXY.sub("", plain)
    while (shorter := _TAIL.sub("", plain)) != plain and shorter:
        plain = shorter
    return plain


def is_same_model(one: str, other: str) -> bool:
    """Whether two names mean one model, or may: a name without a version is any model that has its words."""
    # Some services write the numbers of a version with a dot where its maker has a hyphen.
    a, b = (plain_model(each).replace(".", "-") for each in (one, other))
    return a == b or _is_alias(a, b) or _is_alias(b, a)


def maker_of(name: str) -> str:
    """Who made a model, by its name; '' if the name does not tell."""
    found = _MAKER.search(plain_model(name))
    return found.lastgroup or "" if found else ""


def _is_alias(short: str, whole: str) -> bool:
    words = set(re.split(r"[-_. ]+", short)) - {""}
    return bool(words) and not re.search(r"\d", short) and words < set(re.split(r"[-_. ]+", whole))
