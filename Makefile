# Posthorn's verbs. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo serve login deploy test mutants drill bench day pictures check format lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help: ## list the verbs
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with the posthorn command in it

$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || for python in $(PYTHON) python3.13 python3.12 python3.11; do \
		if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; \
		then $$python -m venv $(VENV) && exit 0; rm -rf $(VENV); exit 1; fi; \
	done; \
	test -x $(BIN)/python || { echo "Posthorn needs Python 3.11 to 3.13 with venv; name one: make PYTHON=… $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "1/3 installing what requirements.lock names into $(VENV): this takes a minute or more"
	@$(BIN)/python -m pip install --progress-bar on --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@echo "2/3 installing posthorn itself"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@echo "3/3 preparing Prefect's database: a quarter of a minute"
	@$(BIN)/python -m deployments.template
	@touch $@

demo: setup ## a sample campaign through the real flows against the sandbox
	$(BIN)/posthorn demo

serve: setup ## everything on this machine: Prefect server, UI, schedules, flows
	$(BIN)/python -m deployments.serve

login: setup ## how to get into the UI of the `make serve` that runs in this folder
	@$(BIN)/python -m deployments.serve --login

deploy: setup ## work pool, limits and all deployments, on the server of PREFECT_API_URL, or of `make serve`
	$(BIN)/python -m deployments.setup

test: check ## everything that must hold: lint, types, import contracts, tests
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4

mutants: setup ## put each fault of tests/mutants/faults into a copy of the code: its tests must notice (an hour)
	$(BIN)/python -m tests.mutants

drill: setup ## kill it anywhere, break anything, run it twice: 200 rounds on SQLite, 100 on PostgreSQL (an hour)
	$(BIN)/python -m tests.drills.runner --rounds 200 --jobs 2
	$(BIN)/python -m tests.drills.runner --rounds 100 --jobs 2 --database postgresql
	$(BIN)/python -m tests.drills.million
	$(BIN)/python -m tests.drills.shown

day: setup ## a day at the operators' desk in a real Chromium: each form pressed, each page read (a minute)
	$(BIN)/python -m pytest -n 0 tests/system/operators_day.py

bench: setup ## how fast it is, beside bare httpx in the same run: writes docs/performance.md (twenty minutes)
	$(BIN)/python -m tests.bench

pictures: setup ## take the pictures of docs/operations.md anew, of the real pages in a Chromium (some minutes)
	$(BIN)/python -m tests.pictures

check: setup ## lint, format, types and import contracts, without the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup ## write requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --group dev --quiet -o requirements.lock

clean: ## remove the environment, builds and caches; never a ledger
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
