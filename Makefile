# The two commands of README.md are `make demo` and `make test`; each does all set-up on first use.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
PRIOR_BENCH ?= demo-prior

.PHONY: help demo test lint ui bench prior-bench faults screenshots setup clean-demo

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: .venv/.ready ## The main job, end to end, on the embedded capture
	@$(BIN)/palm demo

test: .venv/.ready lint ## Lint, types, import contracts and every test
	@$(BIN)/pytest -q -n 2 --dist loadgroup

lint: .venv/.ready ## Lint, format, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

ui: .venv/.ready ## The Dagster UI on the demo, on loopback
	@$(BIN)/palm ui

bench: .venv/.ready ## The measured comparisons, to benchmarks/results.json; the first time it renders what they need
	@nice $(BIN)/python -m tests.benchmarks.session
	@$(BIN)/python -m pytest -q tests/benchmarks --benchmark-only --benchmark-disable-gc
	@$(BIN)/python -m tests.benchmarks.duel

prior-bench: .venv/.ready ## A prior by preset cpu, its figures and its speed, to benchmarks/prior.json; PRIOR_BENCH=FOLDER holds it
	@$(BIN)/python -m tests.benchmarks.prior_session $(PRIOR_BENCH)

faults: .venv/.ready ## The proof of integrity: seeded faults of every kind, as JSON
	@$(BIN)/python -m palm_data.testing.campaign --out benchmarks/faults.json

screenshots: .venv/.ready ## Redraw docs/images from the materialised demo
	@$(BIN)/python -m tests.pipelines.screenshots

setup: .venv/.ready ## System packages, .venv, the pinned dependency set and this package

clean-demo: ## Remove what the demo made
	rm -rf demo

.venv/.ready: pyproject.toml constraints.txt deploy/system_packages.sh
	@bash deploy/system_packages.sh $(PYTHON)
	@echo "setup: virtual environment and the pinned dependency set (about 8 GB, 5 minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[factory,simulate,view,dev]'
	@touch $@
