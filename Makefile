# Each target does its own set-up. It needs Python 3.11 to 3.13 and GNU make.

# Another Python is looked for where this one does not fit.
PYTHON ?= python3
RUN := .venv/bin/python
SOURCES := lm experiments configs tests benchmarks notebooks
# Errors only: pip warns of much that nobody can mend.
INSTALL := -m pip install -qq --disable-pip-version-check

# The tests start the same programs again and again: compile each of them once.
# One from the cache computes the same bits. A test that kills a process may
# leave a part of one there, of which JAX warns before it compiles it anew.
CACHE := JAX_COMPILATION_CACHE_DIR="$(CURDIR)/.cache/jax" \
  JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
PYTEST := -m pytest -W 'ignore:Error reading persistent compilation cache'
TEST := $(CACHE) JAX_PLATFORMS=cpu

.PHONY: help
help:  ## Says what can be made
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' \
	  $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/.ready  ## Trains a small GPT in some minutes, and lets it write
	@echo 'Training on text that is on this machine; see runs/demo.'
	$(RUN) -m experiments.train --config=configs/gpt.py:demo --workdir=runs/demo
	$(RUN) -m experiments.generate --workdir=runs/demo --prompt='The '

.PHONY: test
test: .venv/.ready-test  ## Runs the tests that need nothing but Python: 14 minutes
	LM_SHARED= $(TEST) $(RUN) $(PYTEST) -m 'not peers and not processes'

.PHONY: test-all
test-all: .venv/.ready-peers .venv/.ready-notebooks  ## Runs all tests, also on the newest Python, and the notebooks: 45 minutes
	@$(MAKE) --no-print-directory --jobs=2 test-peers test-newest test-notebooks

.PHONY: test-peers
test-peers: .venv/.ready-peers
	$(TEST) $(RUN) $(PYTEST)

.PHONY: test-slurm
test-slurm: .venv/.ready  ## Installs SLURM, as root, and preempts a run: 2 minutes
	@$(TEST) $(RUN) -m tests.slurm.preempted

# The kernel is that of .venv, whatever others this machine has.
NOTEBOOKS = $(TEST) JUPYTER_PREFER_ENV_PATH=1 LM_SHARED= $(RUN) -m pytest \
  --nbmake --nbmake-kernel=python3 --nbmake-timeout=600 --durations=0

.PHONY: test-notebooks
test-notebooks: .venv/.ready-notebooks  ## Runs the notebooks: 5 minutes
	$(NOTEBOOKS) notebooks

.PHONY: notebooks
notebooks: .venv/.ready-notebooks  ## Runs them, and keeps what they print and draw
	$(NOTEBOOKS) --overwrite notebooks

.PHONY: lint
lint: .venv/.ready-test  ## Checks format and common mistakes
	$(RUN) -m ruff format --check --quiet $(SOURCES)
	$(RUN) -m ruff check --quiet $(SOURCES)

.PHONY: format
format: .venv/.ready-test  ## Formats the code
	$(RUN) -m ruff check --fix --quiet $(SOURCES)
	$(RUN) -m ruff format --quiet $(SOURCES)

reproduce-%: .venv/.ready  ## Repeats the runs behind a committed curve: DATA=FILE, STEPS=3 for a trial
	$(RUN) -m benchmarks.reproduce --name=$* --data='$(DATA)' $(if $(STEPS),--steps=$(STEPS))

.PHONY: docs
docs: .venv/.ready-docs  ## Builds the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet

.PHONY: clean
clean:  ## Removes what was installed and cached; runs stay
	rm -rf .venv .venv-newest .cache build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find $(SOURCES) -name __pycache__ -prune -exec rm -rf {} +

# Prints the first of several Pythons that is 3.MINOR to 3.13 and can make a
# virtual environment: $(call find_python,MINOR,PYTHONS).
find_python = for python in $(2); do \
    if $$python -c 'import ensurepip, sys, venv; \
      sys.exit(not (3, $(1)) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
    then echo $$python; break; fi; \
  done

.venv/bin/python:
	@python=$$($(call find_python,11,$(PYTHON) python3.13 python3.12 python3.11)); \
	if [ -z "$$python" ]; then \
	  echo 'There is no Python 3.11 to 3.13 with venv here. Install one, or name it: make PYTHON=FILE' >&2; \
	  exit 2; \
	fi; \
	echo "Making .venv with $$($$python --version)."; \
	$$python -m venv .venv

.venv/.ready: requirements.txt pyproject.toml | .venv/bin/python
	@echo 'Installing requirements.txt into .venv: a minute or two.'
	@$(RUN) $(INSTALL) -e .
	@touch $@

.venv/.ready-test: .venv/.ready
	@echo 'Installing what the tests need into .venv.'
	@$(RUN) $(INSTALL) -e '.[test]'
	@touch $@

.venv/.ready-peers: .venv/.ready-test
	@echo 'Installing torch, transformers and what else is compared with into .venv.'
	@$(RUN) $(INSTALL) -e '.[test,peers,beam,harness,boards,docs]'
	@touch $@

.venv/.ready-docs: .venv/.ready-test
	@echo 'Installing what builds the documentation into .venv.'
	@$(RUN) $(INSTALL) -e '.[docs]'
	@touch $@

.venv/.ready-notebooks: .venv/.ready-test
	@echo 'Installing what runs the notebooks into .venv.'
	@$(RUN) $(INSTALL) -e '.[test,notebooks]'
	@touch $@

# The newest Python has the newest JAX, and none of those. What the pages say is
# typed once, on the other one: it takes minutes, and each command has its tests.
PYENV = $(shell pyenv root 2>/dev/null)/versions
NEWEST = $(foreach v,3.13 3.12,python$(v) $(wildcard $(PYENV)/$(v).*/bin/python))

.PHONY: test-newest
test-newest:
	@python=$$($(call find_python,12,$(NEWEST))); \
	if [ -n "$$python" ]; then \
	  $(MAKE) --no-print-directory .venv-newest/.ready python=$$python && \
	  $(TEST) .venv-newest/bin/python $(PYTEST) -m 'not peers' \
	    --ignore=tests/docs/commands_test.py; \
	else \
	  echo 'There is no Python 3.12 or 3.13 here: the newest JAX is not tested.' >&2; \
	  [ -z "$$CI" ]; \
	fi

.venv-newest/.ready: requirements.txt pyproject.toml
	@echo "Making .venv-newest with $$($(python) --version), and installing into it."
	@$(python) -m venv .venv-newest
	@.venv-newest/bin/python $(INSTALL) -e '.[test]'
	@touch $@
