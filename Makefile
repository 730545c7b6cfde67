# What a developer types. `make test` is all that continuous integration runs.
#
# Root needs nothing beforehand: missing Debian packages are installed with apt-get. Without root these must be there
# first: python3, python3-venv, gcc, libc6-dev, nodejs, npm (and postgresql for version 15 with its tools); everything
# else goes into .venv and .lab. PostgreSQL then runs as you, otherwise as the system user `postgres`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install lab test check static fast docs docs-check demo bench clean

# An interpreter that the postgres system user can run too: Debian's, where it is new enough.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell /usr/bin/python3 -c '$(NEW_ENOUGH)' 2>/dev/null && echo /usr/bin/python3 || echo python3)
# For the native client; setup.py does without.
CAN_COMPILE := echo '\#include <stdio.h>' | $${CC:-cc} -E - >/dev/null 2>&1
BIN := .venv/bin
STORE ?= file

help:
	@echo 'make install   .venv with wal-e and the developer tools'
	@echo 'make lab       PostgreSQL 10 to 18, Swift, Keystone, SeaweedFS and Azurite for tests, demo and bench'
	@echo 'make check     format, lint, types, layers, reference, fast tests'
	@echo 'make test      all of that, and every test against real servers'
	@echo 'make demo      the whole story on a local folder; STORE=swift|s3|gcs|azure: on such a store'
	@echo 'make bench     the benchmarks; BENCH_ARGS="base wal-push wal-fetch recovery agent stores scale": only those'
	@echo 'make docs      write docs/reference.md anew'
	@echo 'make clean     remove all that these commands made'

install: .venv/.installed

.venv/.installed: pyproject.toml setup.py native/wal-e.c native/page.c
	@umask 022; \
	$(PYTHON) -c '$(NEW_ENOUGH)' || { echo 'Python 3.11 or later is needed: make PYTHON=/path/to/python3 install'; exit 1; }; \
	if ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	    if [ "$$(id -u)" != 0 ]; then echo 'as root: apt-get install python3-venv'; exit 1; fi; \
	    export DEBIAN_FRONTEND=noninteractive; \
	    apt-get install -y -qq python3-venv || { apt-get update -qq && apt-get install -y -qq python3-venv; }; \
	fi; \
	if ! $(CAN_COMPILE); then \
	    if [ "$$(id -u)" != 0 ]; then echo 'no C compiler: wal-e will be a script, slower (as root: apt-get install gcc libc6-dev)'; else \
	        export DEBIAN_FRONTEND=noninteractive; \
	        apt-get install -y -qq gcc libc6-dev || { apt-get update -qq && apt-get install -y -qq gcc libc6-dev; }; \
	    fi; \
	fi; \
	$(PYTHON) -m venv .venv; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'; \
	$(BIN)/python -m lab.command; \
	touch $@

lab: install
	@$(BIN)/python -m lab.install all

static: install
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fast: install
	@$(BIN)/python -m pytest -n 2 -m 'not slow'

check: static docs-check fast

test: install lab static docs-check
	@$(BIN)/python -m pytest -n 2 --dist worksteal

docs: install
	@$(BIN)/python -m wal_e.cli.reference > docs/reference.md.new
	@mv docs/reference.md.new docs/reference.md

docs-check: install
	@$(BIN)/python -m wal_e.cli.reference | diff -u docs/reference.md - \
	    || { echo 'docs/reference.md is out of date: make docs'; exit 1; }

demo: install lab
	@STORE=$(STORE) $(BIN)/python -m demo

bench: install lab
	@$(BIN)/python -m bench $(BENCH_ARGS)

# State that went to LAB_DIR or to /var/tmp/wal-e-lab may serve another clone, and stays.
clean:
	@rm -rf .venv .lab .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
