# Hospital Hub. `make demo` and `make test` do all their own set-up; `make help` lists the rest.
SHELL := /bin/sh
BIN := .venv/bin
ARGS ?=
PYTEST := $(BIN)/python -m pytest -q -o faulthandler_timeout=300

.DEFAULT_GOAL := help
.PHONY: help setup check test demo bench chaos lock lint unit clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the hub and a simulated hospital on SQLite; ARGS="--once --json" ends with the summary
	@scripts/setup.sh run
	@$(BIN)/hub demo $(ARGS)

test: ## everything: check, contract, integration (SQLite, PostgreSQL, Redis, Celery), end to end, corpus
	@scripts/setup.sh system
	@$(MAKE) --no-print-directory check
	timeout 3000 $(PYTEST) -n 2 tests/contract tests/integration tests/e2e tests/corpus $(ARGS)

check: setup lint unit ## ruff, mypy, import rule, unit tests without sockets: little more than a minute

setup: ## .venv with everything that development needs
	@scripts/setup.sh dev

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: setup
	$(PYTEST) -n 2 tests/unit

bench: ## measured speed of this machine; ARGS="--messages 40000"
	@scripts/setup.sh run
	@$(BIN)/hub bench $(ARGS)

chaos: setup ## load with killed processes and a flushed Redis, the full dose (make test has a small one)
	@scripts/setup.sh system
	$(BIN)/python -m tests.chaos --dose full $(ARGS)

lock: setup ## write requirements.lock anew from what is installed
	$(BIN)/pip freeze --all --exclude-editable --exclude pip | sort -f > requirements.lock

clean: ## remove caches; .venv stays
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find hub tests -name __pycache__ -type d -prune -exec rm -rf {} +
