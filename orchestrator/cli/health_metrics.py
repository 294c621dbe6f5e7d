"""`orc health --prometheus`: the same figures in the text format that Prometheus reads.

The format is that of https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.engine.health import HealthReport

Sample = tuple[Mapping[str, str], int]


def metrics_of(report: HealthReport, *, engine: bool) -> str:
    """All metrics, each with its help and type, and a line end after the last."""
    return "".join(f"{line}\n" for line in _lines(report, engine))


def _lines(report: HealthReport, engine: bool) -> Iterator[str]:
    day = report.day
    yield from _gauge("orc_engine_up", "Whether an engine is at work in this workspace.", [({}, engine)])
    yield from _gauge("orc_healthy", "Whether there is no alert.", [({}, not report.alerts)])
    yield from _gauge(
        "orc_alerts",
        "Alerts that stand, by kind.",
        [({"kind": kind}, sum(each.kind == kind for each in report.alerts)) for kind in _alert_kinds()],
    )
    yield from _gauge(
        "orc_jobs",
        "Open jobs that nobody keeps where they are, by state.",
        [({"state": each.state}, each.jobs) for each in report.oldest],
    )
    yield from _gauge(
        "orc_oldest_job_seconds",
        "For how long the oldest of them has been in its state.",
        [({"state": each.state}, each.age_s) for each in report.oldest],
    )
    yield from _gauge("orc_jobs_parked", "Open jobs that are held or wait for a date.", [({}, report.parked)])
    cards = report.cards
    asked = (cards.jobs if cards else 0) + sum(each.waits is not None for each in report.projects)
    yield from _gauge("orc_cards_waiting", "Questions that wait for a person, about jobs and projects.", [({}, asked)])
    # Gauges, for they go down again: what is counted is a day that moves on.
    yield from _gauge(
        "orc_stage_jobs_day",
        "Jobs that reached a stage in the last 24 hours.",
        [({"stage": stage.value}, number) for stage, number in day.reached.items()],
    )
    yield from _gauge(
        "orc_stage_drops_day",
        "How often a reason kept a job from a stage in the last 24 hours.",
        [
            ({"stage": stage.value, "reason": reason}, number)
            for stage, reasons in day.drops.items()
            for reason, number in reasons.items()
        ],
    )
    yield from _gauge("orc_runs_day", "Runs of agents' programs that ended in the last 24 hours.", [({}, day.runs)])
    yield from _gauge("orc_jobs_failed_day", "Jobs that failed in the last 24 hours.", [({}, day.failed)])
    yield from _of_limits(report)
    yield from _gauge("orc_seen_timestamp_seconds", "When this was counted.", [({}, report.at)])


def _of_limits(report: HealthReport) -> Iterator[str]:
    """What is used, which limits are reached, and which services take less than they may."""
    used = report.today
    yield from _gauge(
        "orc_runs_today", "Runs that ask a model, ended or live; the day is that of the limits.", [({}, used.runs)]
    )
    yield from _gauge(
        "orc_tokens_today", "Tokens used today, with what is set aside for live runs.", [({}, used.tokens)]
    )
    yield from _gauge("orc_microusd_today", "Millionths of a US dollar, likewise.", [({}, used.microusd)])
    yield from _gauge("orc_window_tokens", "Tokens of the last five minutes, likewise.", [({}, report.window)])
    yield from _gauge(
        "orc_limit_reached",
        "Limits that keep something from beginning now.",
        [({"limit": each.code, "scope": each.scope.value, "name": each.name}, 1) for each in report.limits],
    )
    yield from _gauge(
        "orc_service_away",
        "Services that are shut, that rest, or that get less at once than they may.",
        [({"backend": each.backend, "model": each.model, "state": each.state}, 1) for each in report.services],
    )


def _alert_kinds() -> list[str]:
    from orchestrator.core.alerts import AlertKind

    return [kind.value for kind in AlertKind]


def _gauge(name: str, told: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} gauge"
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{name}{{{inside}}} {value:d}" if inside else f"{name} {value:d}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
