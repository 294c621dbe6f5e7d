"""What a program said: counting what it used, and what that cost."""

from __future__ import annotations

import pytest

from orchestrator.core.config import Price
from orchestrator.core.said import MOST_COUNTED, NOTHING_USED, Trouble, Usage, cost_of

PRICE = Price(date="2026-11-21", input=3, output=15, cache_read=0.3, cache_write=3.75)


def test_a_count_over_a_session_less_what_came_before_is_the_count_of_the_run() -> None:
    whole = Usage(input=300, output=60, cache_read=9, reasoning=5, cost_microusd=900)
    assert whole.minus(Usage(input=100, output=20, cost_microusd=300)) == Usage(
        input=200, output=40, cache_read=9, reasoning=5, cost_microusd=600
    )
    assert whole.minus(Usage(input=400)).input == 0, "a program that began to count anew used no less than nothing"


def test_money_that_was_never_told_stays_untold() -> None:
    assert Usage(input=1).plus(Usage(input=2)) == Usage(input=3)
    assert Usage(input=1).plus(Usage(input=2, cost_microusd=5)).cost_microusd == 5
    assert Usage(input=1).minus(Usage(cost_microusd=5)).cost_microusd is None


def test_all_tokens_are_counted_once() -> None:
    assert Usage(input=1, output=20, cache_read=300, cache_write=4000, reasoning=7).total == 4321


@pytest.mark.parametrize(
    ("usage", "price", "wanted"),
    [
        (None, PRICE, (None, "")),
        (Usage(input=10), None, (None, "")),
        (Usage(input=10, cost_microusd=42), None, (42, "reported")),
        (Usage(input=1_000_000, output=1_000_000, cost_microusd=42), PRICE, (18_000_000, "2026-11-21")),
        (Usage(cache_read=10, cache_write=10), PRICE, (40, "2026-11-21")),
        (NOTHING_USED, PRICE, (0, "2026-11-21")),
        (Usage(output=10**15), Price("2026-11-21", 3, 100_000), (MOST_COUNTED, "2026-11-21")),
    ],
)
def test_the_price_of_the_person_goes_before_what_a_program_says(
    usage: Usage | None, price: Price | None, wanted: tuple[int | None, str]
) -> None:
    assert cost_of(usage, price) == wanted


def test_only_what_the_agent_cannot_help_costs_it_no_attempt() -> None:
    helpless = {each for each in Trouble if each.is_of_service}
    assert helpless == {Trouble.RATE_LIMITED, Trouble.OVERLOADED, Trouble.AUTH, Trouble.SESSION}
