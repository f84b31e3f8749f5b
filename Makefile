# Every target sets up what it needs in .venv, and again only when pyproject.toml or constraints.txt changed.
# Needed beforehand: make, python3 (3.11 or newer) with its venv module, and a way to install Python packages.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp

# What `penstock up` is given besides its defaults: make up ARGS="--sequencers 2 --data /srv/penstock"
ARGS ?=
# Narrows a test run: make test TESTS="tests/unit -k token"
TESTS ?=

# `make campaign` runs everything, `make campaign CAMPAIGN=ci` the share that CI runs at every change.
CAMPAIGN ?= full
CAMPAIGN_ROUNDS_full := 50
CAMPAIGN_SEEDS_full := 5000
CAMPAIGN_ROUNDS_ci := 10
CAMPAIGN_SEEDS_ci := 500
CAMPAIGN_ROUNDS ?= $(CAMPAIGN_ROUNDS_$(CAMPAIGN))
CAMPAIGN_SEEDS ?= $(CAMPAIGN_SEEDS_$(CAMPAIGN))
CAMPAIGN_TEST_TIMEOUT_S := 3600

FUZZ_SECONDS ?= 300

.DEFAULT_GOAL := help
.PHONY: help setup services up demo test test-faults test-unit test-others lint format campaign fuzz bench clean

help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make .venv with penstock and everything its tests need.

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "penstock needs Python 3.11 or newer; name it with PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' \
		|| { echo "$(PYTHON) has no venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

services:  ## Get the real servers that tests use: Redis (apt, as root) and Kafka's jars (Maven).
	command -v redis-server >/dev/null || apt-get install -y -qq --no-install-recommends redis-server
	ls .services/kafka/kafka_*.jar >/dev/null 2>&1 || mvn -q -B -f tests/support/kafka/pom.xml \
		dependency:copy-dependencies -DoutputDirectory="$(CURDIR)/.services/kafka"

up: $(STAMP)  ## Start a cluster on this machine: router and ingesters; Ctrl-C stops it. Options: ARGS="--sequencers 2"
	$(BIN)/penstock up $(ARGS)

demo: $(STAMP)  ## Write this machine's own metrics to a scratch cluster, query, crash, recover, and check each step.
	$(BIN)/penstock demo

test: $(STAMP)  ## Run every test that belongs to a change (under 10 minutes). Some of them: TESTS="tests/unit -k token"
ifeq ($(TESTS),)
	@echo "three runs at once, each printed when it ends: tests/faults, tests/unit with the crash points, and all others"
	@$(MAKE) --no-print-directory --keep-going --jobs=3 --output-sync=recurse test-faults test-unit test-others
else
	$(BIN)/python -m pytest $(TESTS)
endif

CRASH_POINTS := tests/faults/test_crash_points.py tests/faults/test_crash_points_broken.py

test-faults:
	$(BIN)/python -m pytest tests/faults $(CRASH_POINTS:%=--ignore=%)

test-unit:
	$(BIN)/python -m pytest tests/unit $(CRASH_POINTS)

test-others:
	$(BIN)/python -m pytest tests --ignore=tests/faults --ignore=tests/unit

lint: $(STAMP)  ## Check style, format, types, the direction of imports, and that every test can be imported.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --collect-only -q >/dev/null || $(BIN)/python -m pytest --collect-only -q

format: $(STAMP)  ## Put imports and layout in order.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

campaign: $(STAMP)  ## Run what takes longer than a change should wait. A share of it: CAMPAIGN=ci
	PENSTOCK_CAMPAIGN_ROUNDS=$(CAMPAIGN_ROUNDS) PENSTOCK_CAMPAIGN_SEEDS=$(CAMPAIGN_SEEDS) \
		$(BIN)/python -m pytest -m campaign --timeout $(CAMPAIGN_TEST_TIMEOUT_S) \
		-o faulthandler_timeout=$(CAMPAIGN_TEST_TIMEOUT_S) --durations=15 --durations-min=20 $(TESTS)

fuzz: $(STAMP)  ## Fuzz the line protocol parser; what is found is kept in .fuzz. For longer: FUZZ_SECONDS=3600
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz.line_protocol --seconds $(FUZZ_SECONDS)

bench: $(STAMP)  ## Run the benchmarks, one after another; figures and method are in docs/PERFORMANCE.md.
	@for script in bench/[a-z]*.py; do \
		module=$$(echo "$${script%.py}" | tr / .); \
		echo "== $$module"; $(BIN)/python -m "$$module" || exit 1; \
	done

clean:  ## Remove .venv and caches. Data folders are left alone.
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .fuzz
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
