# make run and make test need only Python 3.11 or newer and make: everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed-run
TEST_STAMP := $(VENV)/.installed-test

# Debian's Chromium, for the browser tests: installed where we may, else they are skipped, and say so.
CHROMIUM_IS_THERE := test -n "$$CHROMIUM" || command -v chromium || command -v google-chrome
CHROMIUM_PACKAGES := chromium fonts-inter fonts-liberation fonts-dejavu-core

.PHONY: run test lint format browser screenshots nightly faults bench clean help

help:
	@echo "make run     run the whole bridge (Ctrl-C stops it)"
	@echo "make test    lint, types, import contracts and all tests"
	@echo "make nightly 1,000 shuffled purchases of each kind, 20,000 fuzzed bodies, 24,000 requests to the API"
	@echo "make faults  the long form of tests/faults"
	@echo "make bench   measure it on this machine"
	@echo "make screenshots  pictures of every page, into docs/screenshots"

# What is half made (no python3-venv, Ctrl-C) goes again, else the next make would take it for whole.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Python 3.11 or newer is needed, and $(PYTHON) is `$(PYTHON) -V 2>&1`: try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up $(VENV): about a minute, once."
	@trap 'rm -rf $(VENV); exit 1' INT TERM; $(PYTHON) -m venv --clear $(VENV) || \
	{ rm -rf $(VENV); echo "On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

$(RUN_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(TEST_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $@ $(RUN_STAMP)

run: $(RUN_STAMP)
	@$(BIN)/bridge up

# The faults first and alone, for their table and their clocks; then all else, a file at a time on either of two processes.
test: lint browser
	$(BIN)/python -m pytest tests/faults
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/faults

browser:
	@($(CHROMIUM_IS_THERE)) >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Debian's chromium for the browser tests"; \
	  (apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends $(CHROMIUM_PACKAGES)) >/dev/null \
	    || echo "*** CHROMIUM COULD NOT BE INSTALLED ***"; \
	else echo "*** THERE IS NO CHROMIUM: apt-get install chromium, or set CHROMIUM ***"; fi

screenshots: $(TEST_STAMP) browser
	$(BIN)/python -m tests.browser.screenshots docs/screenshots

lint: $(TEST_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(TEST_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(TEST_STAMP)
	$(BIN)/python -m bench

faults: $(TEST_STAMP)
	BRIDGE_FAULTS=long $(BIN)/python -m pytest tests/faults -s

nightly: $(TEST_STAMP)
	BRIDGE_EXAMPLES=1000 BRIDGE_FUZZ=20000 BRIDGE_SCHEMATHESIS=500 $(BIN)/python -m pytest -s --timeout 3600 \
		tests/test_purchases.py tests/test_intake_fuzz.py tests/web/test_openapi.py

clean:
	rm -rf $(VENV) var build *.egg-info .pytest_cache .mypy_cache .ruff_cache
