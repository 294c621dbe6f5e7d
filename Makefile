# `make` prints the targets. Everything lands in .venv; pip and uv use whatever index this machine is set up for.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# More than there are cores: half of their time the tests wait for processes that they have started.
JOBS   ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) * 3 / 2 )))
# Each process begins with tests that stand side by side, so what the tests of a file share is made once.
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal
# A stamp for each set: the demo needs only what orc itself needs, so a fresh clone is not kept waiting for the tools.
RUNTIME := $(VENV)/.runtime-installed
TOOLS   := $(VENV)/.tools-installed
BENCH   := $(VENV)/.bench-installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-agents check format torture bench clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "orc needs Python 3.11 or newer; try: make PYTHON=python3.12" >&2; exit 1; }
	@if command -v uv >/dev/null 2>&1; then uv venv --quiet --python $(PYTHON) $(VENV); else \
	  $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; fi

$(RUNTIME): pyproject.toml | $(BIN)/python
	@echo "installing orc into $(VENV) ..."
	@if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python -e .; else \
	  $(BIN)/python -m pip install -qq --disable-pip-version-check -e .; fi
	@touch $@

$(TOOLS): pyproject.toml | $(BIN)/python
	@echo "installing orc and the development tools into $(VENV) ..."
	@if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python -e '.[dev]'; else \
	  $(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[dev]'; fi
	@touch $(RUNTIME) $@

$(BENCH): pyproject.toml | $(TOOLS)
	@echo "installing what the benchmarks need into $(VENV) ..."
	@if command -v uv >/dev/null 2>&1; then uv pip install --quiet --python $(BIN)/python -e '.[bench]'; else \
	  $(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[bench]'; fi
	@touch $@

setup: $(TOOLS) ## install orc and the development tools into .venv

demo: $(RUNTIME) ## see it work in a throw-away repository: no key, no account
	@$(BIN)/orc demo

test: $(TOOLS) ## run the tests, but for the slow ones
	$(PYTEST) -m "not torture and not slow and not agents"

test-agents: $(TOOLS) ## drive the real agents' programs against a model server on loopback; AGENTS=claude for one
	@$(BIN)/python tests/agents/cli_install.py tests/agents $(if $(AGENTS),-k $(AGENTS)) $(AGENTS_ARGS)

check: $(TOOLS) ## everything a change must pass: format, lint, types, layers, all tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST) $(CHECK_ARGS)

format: $(TOOLS) ## format the code and apply the safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

torture: $(TOOLS) ## run the long sweeps, which break the program at every step
	@$(PYTEST) -m torture tests; code=$$?; \
	  if [ $$code -eq 5 ]; then echo "No long sweep exists yet: no test is marked \`torture\`."; else exit $$code; fi

bench: $(BENCH) ## measure what claims about speed rest on; BENCH_ARGS=--quick for a short form
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

clean: ## remove .venv, caches and the demo's folder; never the queue or the ledger
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .orc-demo dist
	find orchestrator tests -name __pycache__ -type d -prune -exec rm -rf {} +
