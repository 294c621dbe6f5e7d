from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.adapters.backends.registry import BACKENDS
from orchestrator.adapters.config_file import config_template, line_in_config, parse_config, read_config
from orchestrator.adapters.schemas import load_schema
from orchestrator.adapters.strict_yaml import dump
from orchestrator.core.config import (
    SUSPICION,
    BackendConfig,
    Config,
    Duplicates,
    Limits,
    LogLimits,
    Project,
    ReviewDefaults,
    Route,
    SessionLimits,
    Setup,
)
from orchestrator.core.job import Check, MergePolicy
from orchestrator.errors import HostileFileError, InvalidFileError, NotFoundError


def parse(text: str) -> Config:
    return parse_config(text.encode())


def test_a_whole_number_is_written_without_a_point() -> None:
    text = b"version: 1\nexecution_limits:\n  total: {tokens: 1000000.0}\n"
    with pytest.raises(InvalidFileError) as found:
        parse_config(text)
    told = "orc.yaml:3: execution_limits.total.tokens: must be a whole number or text, is 1000000.0"
    assert str(found.value).startswith(told)


def test_a_version_is_enough() -> None:
    assert parse("version: 1\n") == Config()


def test_every_section_arrives() -> None:
    config = parse(
        "version: 1\nslots: 8\ntick_seconds: 1\n"
        "projects:\n  web-shop:\n    path: ../shop\n    target: main\n    checks: [make test, {name: l, run: lint}]\n"
        "    setup: make deps\n    keep: [node_modules/]\n    merge: auto\n"
        "  api: {setup: {run: x, timeout_s: 9}}\n"
        "backends:\n  mine: {argv: [prog, -x], env: {A: '1'}, pass_env: [KEY], family: f, model: m}\n"
        "review: {rounds: 2}\nlimits: {minutes: 5}\n"
    )
    assert config.slots == 8
    assert config.tick_seconds == 1.0
    assert config.projects["web-shop"] == Project(
        name="web-shop",
        path="../shop",
        target="main",
        checks=(Check("make test"), Check("lint", "l")),
        setup=Setup("make deps"),
        keep=("node_modules/",),
        merge=MergePolicy.AUTO,
    )
    assert config.projects["api"].setup == Setup("x", 9)
    assert config.backends["mine"] == BackendConfig(
        name="mine", argv=("prog", "-x"), env={"A": "1"}, pass_env=("KEY",), family="f", model="m"
    )
    assert (config.review.rounds, config.limits.minutes) == (2, 5)


def test_a_kind_is_routed_to_names_or_to_a_tier() -> None:
    config = parse(
        "version: 1\nmodels: {big-1: {tier: strong}, small-1: {}}\n"
        "routing: {code: ada, writing: [ada, ben], ops: {tier: strong}}\n"
    )
    assert config.routing == {"code": Route(("ada",)), "writing": Route(("ada", "ben")), "ops": Route(tier="strong")}
    assert [config.tier_of(model) for model in ("big-1", "small-1", "unknown")] == ["strong", "", ""]


def test_the_line_of_a_value_is_found_and_nothing_else_is_an_error(tmp_path: Path) -> None:
    assert line_in_config(tmp_path, "routing") == 0
    (tmp_path / "orc.yaml").write_text("version: 1\nrouting:\n  code:\n    - ada\n    - ben\n")
    assert line_in_config(tmp_path, "routing", "code", 1) == 5
    assert line_in_config(tmp_path, "routing", "ops") == 0
    (tmp_path / "orc.yaml").write_text("version: [1\n")
    assert line_in_config(tmp_path, "version") == 0


def test_a_workspace_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "orc.yaml").write_text("version: 1\nslots: 2\n")
    assert read_config(tmp_path).slots == 2


def test_a_folder_without_the_file_is_told_how_to_become_a_workspace(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        read_config(tmp_path)
    assert caught.value.hint == "orc init"


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("version: 1\n")
    (tmp_path / "orc.yaml").symlink_to("other.yaml")
    with pytest.raises(HostileFileError):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("line", "key", "words"),
    [
        ("slot: 4", "slot", "did you mean `slots`?"),
        ("slots: 65", "slots", "must be at most 64"),
        ("slots: 0", "slots", "must be at least 1"),
        ("check_slots: 17", "check_slots", "must be at most 16"),
        ("tick_seconds: 0.1", "tick_seconds", "must be at least 0.2"),
        ("tick_seconds: soon", "tick_seconds", "must be a number"),
        ("projects: {}", "projects", "at least 1"),
        ("projects: {Main: {}}", "projects", "does not have the form"),
        ("projects: {a/b: {}}", "projects", "does not have the form"),
        ("projects: {main: null}", "projects.main", "must be a mapping"),
        ("projects: {main: {chekcs: []}}", "projects.main.chekcs", "did you mean `checks`?"),
        ("projects: {main: {target: orc/x}}", "projects.main.target", "does not have the form"),
        ("projects: {main: {keep: [../x]}}", "projects.main.keep[0]", "does not have the form"),
        ("projects: {main: {merge: always}}", "projects.main.merge", '"ask", "auto", "branch"'),
        ("projects: {main: {setup: {run: x, time: 1}}}", "projects.main.setup.time", "Allowed here: run, timeout_s"),
        ("projects: {m: {checks: [{run: x, timeout_s: 99999}]}}", "projects.m.checks[0].timeout_s", "at most 21600"),
        ("backends: {b: {type: comand}}", "backends.b.type", "did you mean `command`?"),
        ("backends: {b: {model: strnog-1}}\nmodels: {strong-1: {}}", "backends.b.model", "did you mean `strong-1`?"),
        ("backends: {claud: {model: m}}", "backends.claud", "did you mean 'claude'?"),
        ("backends: {mine: {}}", "backends.mine", "neither `type:` nor `argv:`"),
        ("backends: {b: {argv: prog -x}}", "backends.b.argv", "must be a list"),
        ("backends: {b: {env: {A: 1}}}", "backends.b.env.A", "must be text, is 1"),
        ("backends: {b: {env: {A=B: x}}}", "backends.b.env", "does not have the form"),
        ("backends: {b: {pass_env: [KEY=secret]}}", "backends.b.pass_env[0]", "does not have the form"),
        ("routing: {Code: engineer}", "routing.Code", "does not have the form"),
        ("routing: {code: {teir: strong}}", "routing.code.teir", "did you mean `tier`?"),
        ("routing: {code: 3}", "routing.code", "must be text or a list or a mapping"),
        ("routing: {code: [a, B]}", "routing.code[1]", "does not have the form"),
        ("routing: {code: {tier: strong}}", "routing.code.tier", "no model under models: has one"),
        ("routing: {code: {tier: strnog}}\nmodels: {m: {tier: strong}}", "routing.code.tier", "did you mean `strong`?"),
        ("review: {independence: none}", "review.independence", '"family", "model", "human"'),
        ("review: {suspicion: {seconds: -1}}", "review.suspicion.seconds", "must be at least 0"),
        ("review: {suspicion: {seconds: 601}}", "review.suspicion.seconds", "must be at most 600"),
        ("review: {suspicion: {lines: 1.5}}", "review.suspicion.lines", "must be a whole number"),
        ("review: {suspicion: {approvals: 0.3}}", "review.suspicion.approvals", "must be at least 0.5"),
        ("review: {suspicion: {approvals: 98}}", "review.suspicion.approvals", "must be at most 1"),
        ("review: {suspicion: {reviews: 2}}", "review.suspicion.reviews", "must be at least 5"),
        ("review: {suspicion: {secs: 2}}", "review.suspicion.secs", "Allowed here"),
        ("limits: {minute: 3}", "limits.minute", "did you mean `minutes`?"),
        ("limits: {output_mb: 5000}", "limits.output_mb", "must be at most 1024"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_file_the_line_the_key_and_what_is_allowed(line: str, key: str, words: str) -> None:
    with pytest.raises(InvalidFileError) as caught:
        parse(f"# mine\nversion: 1\n{line}\n")
    error = caught.value
    assert (error.file, error.line, error.key) == ("orc.yaml", 3, key)
    assert words in str(error)


@pytest.mark.parametrize("text", ["slots: 1\n", "version: 2\n", "", "- a\n"])
def test_a_file_without_the_right_version_is_refused(text: str) -> None:
    with pytest.raises(InvalidFileError):
        parse(text)


SECTIONS: list[tuple[tuple[str, ...], type[Any], set[str]]] = [
    ((), Config, set()),
    (("projects", "additionalProperties"), Project, {"name"}),
    (("projects", "additionalProperties", "setup"), Setup, set()),
    (("backends", "additionalProperties"), BackendConfig, {"name"}),
    (("sessions",), SessionLimits, set()),
    (("review",), ReviewDefaults, set()),
    (("limits",), Limits, set()),
    (("logs",), LogLimits, set()),
    (("duplicates",), Duplicates, set()),
]


def _section(path: tuple[str, ...]) -> Any:
    schema: Any = load_schema("config")
    for key in path:
        schema = schema[key] if key == "additionalProperties" else schema["properties"][key]
    return schema


@pytest.mark.parametrize(("path", "kind", "hidden"), SECTIONS)
def test_the_schema_has_the_keys_and_defaults_of_the_dataclass(
    path: tuple[str, ...], kind: type[Any], hidden: set[str]
) -> None:
    schema = _section(path)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.name not in hidden}
    assert list(schema["properties"]) == list(fields)
    assert schema["additionalProperties"] is False
    for key, sub in schema["properties"].items():
        assert sub["title"], key
        assert sub["description"], key
        if "default" in sub and key not in ("projects", "backends", "models", "routing", "fallback", "env"):
            default = fields[key].default
            assert (list(default) if isinstance(default, tuple) else default) == sub["default"], key


def test_the_schema_has_the_bounds_of_suspicion() -> None:
    told = {key: sub["default"] for key, sub in _section(("review", "suspicion"))["properties"].items()}
    assert told == dataclasses.asdict(SUSPICION)


@pytest.mark.parametrize(("path", "kind", "hidden"), SECTIONS)
def test_every_example_in_the_schema_is_accepted(path: tuple[str, ...], kind: type[Any], hidden: set[str]) -> None:
    base: dict[str, Any] = {"run": "x"} if kind is Setup else {"argv": ["x"]} if kind is BackendConfig else {}
    keys = _section(path)["properties"]
    tried = [(key, example) for key, sub in keys.items() for example in sub.get("examples", [])]
    assert tried
    for key, example in tried:
        is_default = example == keys[key].get("default")
        assert (_filled(path, base | {key: example}) == _filled(path, base)) == is_default, key


def _filled(path: tuple[str, ...], value: Any) -> Config:
    """A configuration with nothing in it but this section."""
    for name in reversed(path):
        value = {"main" if name == "additionalProperties" else name: value}
    return parse(dump({"version": 1, **value}))


def test_a_project_has_its_own_bounds_of_likeness_and_those_of_the_workspace_for_the_rest() -> None:
    text = "version: 1\nduplicates: {ask: 0.7, hours: 0}\nprojects: {main: {duplicates: {block: 0}}, other: {}}\n"
    config = parse(text)
    assert config.duplicates_of("main") == Duplicates(ask=0.7, block=0, hours=0)
    assert config.duplicates_of("other") == config.duplicates_of("gone") == Duplicates(ask=0.7, block=0.8, hours=0)
    assert parse("version: 1\n").duplicates_of("main") == Duplicates()


@pytest.mark.parametrize("key", ["ask", "block"])
@pytest.mark.parametrize("bound", ["0.1", "1.5", "-1", "high"])
def test_a_bound_that_would_hold_up_what_has_nothing_in_common_is_refused(key: str, bound: str) -> None:
    for where in ("", "projects:\n  main:\n    "):
        with pytest.raises(InvalidFileError) as caught:
            parse(f"version: 1\n{where}duplicates: {{{key}: {bound}}}\n")
        assert caught.value.key.endswith(f"duplicates.{key}")


def test_every_type_of_backend_is_told_in_a_new_file_and_none_is_listed_by_hand() -> None:
    told = " ".join(line.strip("# ") for line in config_template(target="main").splitlines())
    assert f"There are: {', '.join(BACKENDS)}." in told
    about = _section(("backends", "additionalProperties"))["properties"]["type"]["description"]
    assert {name for name in BACKENDS if name in about} == {"command", "scripted"}


def test_a_type_that_is_not_there_is_an_error_with_the_nearest() -> None:
    with pytest.raises(InvalidFileError) as caught:
        parse("version: 1\nbackends:\n  mine: {type: cladue, model: m}\n")
    assert caught.value.line == 3
    assert "did you mean `claude`?" in str(caught.value)


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_a_backend_with_the_name_of_a_type_is_of_that_type(name: str) -> None:
    assert parse(f"version: 1\nbackends: {{{name}: {{model: m}}}}\n").backends[name].type == name


@pytest.mark.parametrize(
    ("name", "settings"),
    [("claude", "{argv: [claude, -p]}"), ("claude", "{type: command}"), ("mine", "{argv: [mine]}")],
)
def test_one_that_says_otherwise_or_has_a_name_of_its_own_is_a_command(name: str, settings: str) -> None:
    assert parse(f"version: 1\nbackends: {{{name}: {settings}}}\n").backends[name].type == "command"


def test_the_new_file_says_what_type_a_backend_has_that_names_none() -> None:
    assert "the backend's own name" in re.sub(r"\n# ", " ", config_template(target="main"))


@given(
    target=st.sampled_from(["main", "trunk", "release/1.0", "no", "1.0"]),
    checks=st.lists(
        st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=30).filter(
            str.strip
        ),
        max_size=3,
    ),
)
@settings(deadline=None, max_examples=40)  # fmt: skip
def test_the_template_is_a_configuration(target: str, checks: list[str]) -> None:
    config = parse(config_template(target=target, checks=checks))
    wanted = Project(target=target, checks=tuple(Check(run) for run in checks))
    assert config == Config(projects={"main": wanted})


def test_the_template_with_every_comment_sign_taken_away_has_every_key() -> None:
    text = config_template(target="main", checks=["make test"], schema_path="config.schema.json")
    assert text.startswith("# yaml-language-server: $schema=config.schema.json\n")
    config = parse(re.sub(r"^#(?! \S)", "", text, flags=re.MULTILINE))
    assert set(config.backends) == {"claude", "codex", "gemini", "mine"}
    assert config.backends["claude"].type == "claude"
    assert config.backends["mine"].argv == ("my-agent", "--quiet")
    assert config.models["claude-sonnet-5-5"].price is not None
    assert config.routing["code"] == Route(("engineer",))
    project = config.projects["main"]
    assert project.setup is not None
    assert project.keep
    for section in ("sessions", "review", "limits", "logs"):
        for key in _section((section,))["properties"]:
            assert re.search(rf"^#  {key}:( |$)", text, re.MULTILINE), key
    for key in _section(("projects", "additionalProperties"))["properties"]:
        assert re.search(rf"^(#    |    ){key}:", text, re.MULTILINE), key
