"""An agent that is orc's own and asks a model by its API, of a service on loopback: see the fixture `service`."""

from __future__ import annotations

from typing import Any

from fake_models import FakeModels

KEY = "sk-ant-not-a-key-4711"
PRICE = {"date": "2026-11-21", "input": 3, "output": 15, "cache_read": 1, "cache_write": 2}
USAGE = {"input": 1000, "output": 100, "cache_read": 10, "cache_write": 20}
WRITES = {"times": 1, "tools": [{"name": "write", "input": {"path": "code.py", "content": "print('new')\n"}}]}
"""A turn of an author."""


def says(text: str = "It is done.", **more: Any) -> dict[str, Any]:
    """The last turn of an author, and what it used."""
    return {"text": text, "usage": USAGE, **more}


def api_of(service: FakeModels) -> dict[str, Any]:
    """The configuration of a backend that asks this service once, without a long wait."""
    return {"type": "anthropic", "base_url": service.url, "args": ["--tries=1", "--wait-s=0.1"], "quick": True}
