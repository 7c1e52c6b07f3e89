# Two commands matter: `make demo` and `make test`. Both make .venv first, where it is missing or out of date.
PYTHON ?= python3
BIN := .venv/bin
# Which PyTorch: unset, that of requirements.lock; else what uv calls a torch backend, such as cpu or cu126.
TORCH ?=
# One thread a process: the tests run in parallel, and two threads on a busy machine are slower than one.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= passive
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help install demo test check docs format lock fresh

help:
	@echo "make demo    train a recogniser of spoken commands, score it, transcribe a folder (10 minutes on 2 cores)"
	@echo "make test    the whole test suite"
	@echo "make check   format, lint, types and the fast tests (2 minutes)"
	@echo "make docs    the pages of docs/ as a site, in runs/site"
	@echo "make install what these need, into .venv; with TORCH=cpu without what only GPUs need"
	@echo "make lock    requirements.lock anew; make fresh: an installation without it, and a smoke test"

install: .venv/installed

# Every package as requirements.lock has it, by its hash; then this one. Another PyTorch than the lock's has other
# hashes, which are not known here: its wheels come from PyTorch's own index, everything else from the lock.
.venv/installed: pyproject.toml requirements.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
ifeq ($(TORCH),)
	@test -e /proc/driver/nvidia/version || echo "no NVIDIA driver found: 'make install TORCH=cpu' takes 0.2 GB of" \
		"PyTorch in the place of 5"
	@echo "installing into .venv (torch is large: minutes the first time)"
	@$(BIN)/python -m pip install --progress-bar on --require-hashes -r requirements.lock
else
	@awk '/^[a-z]/ {keep = $$0 !~ /^(torch|torchaudio|triton|nvidia-.*|cuda-.*)==/} keep' requirements.lock \
		> .venv/without-torch.lock
	@$(BIN)/python -m pip install --progress-bar on --require-hashes --no-deps -r .venv/without-torch.lock
	@$(BIN)/uv pip install --python $(BIN)/python --torch-backend $(TORCH) \
		$$(grep -oE '^torch(audio)?==[0-9.]+' requirements.lock)
endif
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
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

# NO_MKDOCS_2_WARNING: an advertisement of the theme, which is not about this site.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# For every Python from 3.11 and every platform, with the hashes of all files of a release.
lock:
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --upgrade \
		--custom-compile-command "make lock" --quiet --output-file requirements.lock

# What a user of `pip install .` gets today, and whether it works.
FRESH := cache/fresh
fresh:
	rm -rf $(FRESH)
	$(PYTHON) -m venv $(FRESH)
	$(FRESH)/bin/python -m pip install --progress-bar on '.[synth,commands]'
	bash tests/programs/smoke.sh $(FRESH)/bin
	@$(FRESH)/bin/python -m pip freeze --exclude earshot | tr A-Z_ a-z- | while read -r pin; do \
		grep -q "^$$pin " requirements.lock || echo "not as in requirements.lock: $$pin"; done
