"""Which names of models mean one model, and whose it is."""

from __future__ import annotations

import pytest

from orchestrator.core.model_names import is_same_model, maker_of, plain_model


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("anthropic.claude-sonnet-4-5-v1:0", "claude-sonnet-4-5"),
        ("openrouter/anthropic/claude-sonnet-4-5:free", "claude-sonnet-4-5"),
        ("Claude-3-5-Haiku-latest", "claude-3-5-haiku"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gemini-2.5-pro-preview-05-06", "gemini-2.5-pro"),
        ("gpt-5.1", "gpt-5.1"),
        ("claude-sonnet-4-6[1m]", "claude-sonnet-4-6"),
        ("latest", "latest"),
        ("", ""),
    ],
)
def test_a_name_without_its_date_and_its_proxy(name: str, plain: str) -> None:
    assert plain_model(name) == plain


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("sonnet", "claude-sonnet-4-5", True),
        ("gemini-pro", "gemini-2.5-pro", True),
        ("anthropic/claude-opus-4.8", "claude-opus-4-8", True),
        ("opus[1m]", "claude-opus-4-8", True),
        ("gpt-5.1", "gpt-5.2", False),
        ("gpt-4o", "gpt-4o-2024-05-13", True),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-05-13", True),
        ("sonnet", "claude-opus-4-1", False),
        ("gpt-5", "gpt-5-mini", False),
        ("gemini-2.5-pro", "gemini-3-pro", False),
        ("model-a", "model-b", False),
    ],
)
def test_one_model_under_two_names(one: str, other: str, *, same: bool) -> None:
    assert is_same_model(one, other) is is_same_model(other, one) is same


@pytest.mark.parametrize(
    ("name", "maker"),
    [
        ("vertex/claude-opus-4-1@20250805", "anthropic"),
        ("opus", "anthropic"),
        ("o3-mini", "openai"),
        ("openai/gpt-5", "openai"),
        ("models/gemini-2.5-flash", "google"),
        ("kimi-k2", "moonshot"),
        ("opusculum-1", ""),
        ("north-1", ""),
        ("", ""),
    ],
)
def test_whose_a_model_is(name: str, maker: str) -> None:
    assert maker_of(name) == maker
