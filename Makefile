# What there is to do in a checkout. CI does the same: .ci/run.
BIN ?= .venv/bin
export OMP_NUM_THREADS ?= 1

.PHONY: help setup lint types test test-slow smoke smoke-environment docs reference headline structure

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup:  ## a virtual environment with everything that the tests need
	python3 -m venv .venv
	$(BIN)/pip install -e '.[test]'

lint:  ## style
	$(BIN)/ruff check .

types:  ## types, strictly
	$(BIN)/mypy

test:  ## the tests that a change must pass
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow:  ## the long ones: deployments, quickstart, larger audits
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile

PYTHON ?= python3
smoke:  ## the main commands on another Python, in an environment of its own: PYTHON=python3.12
	$(MAKE) --silent smoke-environment PYTHON=$(PYTHON)
	.smoke/bin/python -m tests.smoke
	rm -r .smoke

smoke-environment:
	$(PYTHON) -m venv --clear .smoke
	.smoke/bin/pip install --quiet --no-compile torch==2.13.0
	.smoke/bin/pip install --quiet --no-compile -e '.[deploy]'

docs:  ## the documentation site, into site/ (extra docs)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

reference:  ## docs/reference anew, from commands and settings
	$(BIN)/python -m tests.reference

headline:  ## the README's table anew, from docs/results/headline.md
	$(BIN)/python -m tests.headline

structure:  ## figures of the structure
	$(BIN)/python -m tests.structure
