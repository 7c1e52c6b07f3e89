# Two commands matter: `make demo` and `make test`. Both make .venv first, where it is missing or out of date.
PYTHON ?= python3
BIN := .venv/bin
# One thread a process: the tests run in parallel, and two threads on a busy machine are slower than one.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= passive

.PHONY: help install demo test check format

help:
	@echo "make demo    train a recogniser of spoken commands, score it, transcribe a folder (10 minutes on 2 cores)"
	@echo "make test    the whole test suite"
	@echo "make check   format, lint, types and the fast tests (2 minutes)"

install: .venv/installed

.venv/installed: pyproject.toml
	@echo "installing into .venv (torch is large: minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --progress-bar on -e '.[dev]'
	@touch $@

demo: install
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash recipes/demo/run.sh

test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not gpu"

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
