# make run and make test need only Python 3.11 or newer and make: everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed-run
TEST_STAMP := $(VENV)/.installed-test
TOOLS := .venv-security
DEPLOY_TOOLS := .venv-deploy
DEPLOY_TOOLS_STAMP := $(DEPLOY_TOOLS)/.installed
TOOLS_STAMP := $(TOOLS)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
UV ?= uv
LOCK = $(UV) pip compile pyproject.toml --group build $(LOCK_OPTIONS)
LOCK_OPTIONS = --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --custom-compile-command "make lock" --quiet $(UPGRADE)
# The optional parts that requirements.txt has, and with it `make run` and the image.
EXTRAS_ANYWHERE := --extra encryption --extra otel --extra oidc
EXTRAS := --extra embedded $(EXTRAS_ANYWHERE)

# Debian's Chromium, for the browser tests: installed where we may, else they are skipped, and say so.
CHROMIUM_IS_THERE := test -n "$$CHROMIUM" || command -v chromium || command -v google-chrome
APT := apt-get -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120
APT_INSTALL := $(APT) update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive $(APT) install -y -qq --no-install-recommends
CHROMIUM_PACKAGES := chromium fonts-inter fonts-liberation fonts-dejavu-core

.PHONY: run test all-tests compiled-tests short-faults coverage lint lock format browser pgbouncer nginx screenshots settings-reference nightly faults operator bench deploy-checks image audit secrets sbom fuzz wheels clean help

help:
	@echo "make run     run the whole bridge (Ctrl-C stops it)"
	@echo "make test    lint, types, import contracts and all tests"
	@echo "make coverage how much of the code the tests run; fails below the floor in pyproject.toml"
	@echo "make nightly 1,000 shuffled purchases of each kind, 20,000 fuzzed bodies, 24,000 requests to the API"
	@echo "make faults  the long form of tests/faults"
	@echo "make operator  an operator's run: deploy, kill, upgrade, back up, restore and move under load"
	@echo "make bench   measure it on this machine"
	@echo "make deploy-checks  the files in deploy/, by the programs that read them: nginx, Caddy, promtool, systemd, hadolint, Compose"
	@echo "make image   build deploy/Dockerfile without a registry, and run the image (Debian, root)"
	@echo "make audit   known vulnerabilities of the pinned dependencies"
	@echo "make secrets secrets in the files of the repository"
	@echo "make sbom    a CycloneDX bill of materials, build/sbom.cdx.json"
	@echo "make fuzz    thousands of examples for every parser of what strangers send"
	@echo "make wheels  whether each pinned dependency has a wheel for each system that docs/package.md names"
	@echo "make lock    pin dependencies again, after a change in pyproject.toml"
	@echo "make settings-reference  the tables of docs/settings.md, from the settings themselves"
	@echo "make screenshots  pictures of every page, into docs/screenshots"

# What is half made (no python3-venv, Ctrl-C) goes again, else the next make would take it for whole.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
	{ echo "There is no $(PYTHON) here. Install Python 3.11 or newer, or name yours: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Python 3.11 or newer is needed, and $(PYTHON) is `$(PYTHON) -V 2>&1`: try make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up $(VENV): about a minute, once."
	@trap 'rm -rf $(VENV) $(VENV).log; echo "Interrupted. Nothing is left behind." >&2; exit 1' INT TERM; \
	$(PYTHON) -m venv --clear $(VENV) 2>$(VENV).log || \
	{ cat $(VENV).log >&2; rm -rf $(VENV) $(VENV).log; echo "On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	rm -f $(VENV).log

# What is installed is what `make lock` saw, hash by hash: the lock is complete, so pip resolves nothing (older ones stumble over
# extras in hash mode). Only the project itself is built here.
$(RUN_STAMP): pyproject.toml requirements.txt | $(BIN)/python
	@$(PIP) --require-hashes --no-deps -r requirements.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(TEST_STAMP): pyproject.toml constraints.txt | $(BIN)/python
	@$(PIP) --require-hashes --no-deps -r constraints.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@ $(RUN_STAMP)

# After a change of dependencies in pyproject.toml; make lock UPGRADE=--upgrade takes newer versions of everything.
lock:
	$(LOCK) $(EXTRAS) -o requirements.txt
	$(LOCK) $(EXTRAS) --extra test -o constraints.txt
	$(UV) pip compile --group security $(LOCK_OPTIONS) -o requirements-security.txt
	$(UV) pip compile --group deploy $(LOCK_OPTIONS) -o requirements-deploy.txt

# By the index's own lists, without installing anything. Needs uv, as `make lock` does.
WHEELS = $(UV) pip compile pyproject.toml --constraint requirements.txt --only-binary :all: --quiet
wheels:
	@for python in 3.11 3.12 3.13 3.14; do \
	  for system in x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin; do \
	    $(WHEELS) $(EXTRAS) --python-version $$python --python-platform $$system >/dev/null || exit 1; \
	    echo "Python $$python, $$system: everything"; \
	  done; \
	  for system in x86_64-unknown-linux-musl aarch64-unknown-linux-musl; do \
	    $(WHEELS) $(EXTRAS_ANYWHERE) --python-version $$python --python-platform $$system >/dev/null || exit 1; \
	    echo "Python $$python, $$system: everything but [embedded]"; \
	  done; \
	done

run: $(RUN_STAMP)
	@$(BIN)/bridge up

# The faults run before all other tests, for their table and their clocks, then all else, a file at a time on four processes: on two
# cores, since many tests wait for other processes. tests/support/order.py says which files first. The linters run beside
# the faults, and then one process collects all tests, which compiles them: otherwise each of the four would compile them all.
PYTEST_ALL := $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder --ignore tests/faults

test: $(TEST_STAMP) browser pgbouncer
	@$(MAKE) --no-print-directory --jobs=2 lint all-tests compiled-tests

all-tests: short-faults
	$(PYTEST_ALL)

# What fails here fails again in the tests, and is shown there.
compiled-tests: lint
	@$(BIN)/python -m pytest --collect-only -q -p no:cacheprovider --ignore tests/faults >/dev/null 2>&1 || true

short-faults: $(TEST_STAMP)
	$(BIN)/python -m pytest tests/faults

# How much of app/ and workers/ the tests run, branches included; fail_under in pyproject.toml is the least.
coverage: $(TEST_STAMP) browser pgbouncer
	$(PYTEST_ALL) --cov --cov-report=term

browser:
	@($(CHROMIUM_IS_THERE)) >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Debian's chromium for the browser tests"; \
	  $(APT_INSTALL) $(CHROMIUM_PACKAGES) >/dev/null \
	    || echo "*** CHROMIUM COULD NOT BE INSTALLED ***"; \
	else echo "*** THERE IS NO CHROMIUM: apt-get install chromium, or set CHROMIUM ***"; fi

# Debian's PgBouncer, for the tests behind a pooler: installed where we may, else they are skipped, and say so.
pgbouncer:
	@test -x /usr/sbin/pgbouncer || command -v pgbouncer >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Debian's pgbouncer for the tests behind a pooler"; \
	  $(APT_INSTALL) pgbouncer >/dev/null || echo "*** PGBOUNCER COULD NOT BE INSTALLED ***"; \
	else echo "*** THERE IS NO PGBOUNCER: apt-get install pgbouncer ***"; fi

# The files in deploy/ by the programs that read them. `make test` skips what is not installed; this installs it where it may.
deploy-checks: $(TEST_STAMP) $(DEPLOY_TOOLS_STAMP)
	@for one in nginx:nginx caddy:caddy promtool:prometheus systemd-analyze:systemd; do \
	  command -v $${one%:*} >/dev/null || test -x /usr/sbin/$${one%:*} || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing Debian's $${one#*:}"; \
	    $(APT_INSTALL) $${one#*:} >/dev/null || echo "*** $${one#*:} COULD NOT BE INSTALLED ***"; \
	  else echo "*** THERE IS NO $${one%:*}: apt-get install $${one#*:} ***"; fi; \
	done
	@.ci/get-compose $(DEPLOY_TOOLS)/bin
	PATH="$(CURDIR)/$(DEPLOY_TOOLS)/bin:$$PATH:/usr/sbin" $(BIN)/python -m pytest -rs tests/test_deploy.py tests/web/test_monitoring.py \
	  tests/stack/test_behind_a_proxy.py

$(DEPLOY_TOOLS_STAMP): requirements-deploy.txt
	@$(PYTHON) -m venv --clear $(DEPLOY_TOOLS)
	@$(DEPLOY_TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-deploy.txt
	@touch $@

image:
	@for one in buildah mmdebstrap crun; do command -v $$one >/dev/null || missing="$$missing $$one"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then $(APT_INSTALL) $$missing >/dev/null; \
	  else echo "*** THE IMAGE WAS NOT BUILT: install$$missing as root, on Debian ***"; exit 1; fi; \
	fi
	deploy/check-image

# Debian's nginx, for the operator's run: installed where we may, else the run goes without a proxy, and says so.
nginx:
	@test -x /usr/sbin/nginx || command -v nginx >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Debian's nginx for the operator's run"; \
	  $(APT_INSTALL) nginx-light >/dev/null || echo "*** NGINX COULD NOT BE INSTALLED ***"; \
	else echo "*** THERE IS NO NGINX: apt-get install nginx ***"; fi

screenshots: $(TEST_STAMP) browser
	$(BIN)/python -m tests.browser.screenshots docs/screenshots

settings-reference: $(TEST_STAMP)
	$(BIN)/python -m app.config.reference

lint: $(TEST_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry app workers
	$(BIN)/vulture

format: $(TEST_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(TEST_STAMP)
	$(BIN)/python -m bench

faults: $(TEST_STAMP) pgbouncer
	BRIDGE_FAULTS=long $(BIN)/python -m pytest tests/faults -s

operator: $(TEST_STAMP) nginx
	$(BIN)/python -m tests.operator

nightly: $(TEST_STAMP)
	BRIDGE_EXAMPLES=1000 BRIDGE_FUZZ=20000 BRIDGE_SCHEMATHESIS=500 $(BIN)/python -m pytest -s --timeout 3600 \
		tests/test_purchases.py tests/test_payment_sources.py tests/test_intake_fuzz.py tests/web/test_openapi.py

# The security tools have an environment of their own: what they depend on must not decide on the versions of the bridge.
$(TOOLS_STAMP): requirements-security.txt
	@$(PYTHON) -m venv --clear $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-security.txt
	@touch $@

audit: $(TOOLS_STAMP)
	$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.txt
	$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes -r constraints.txt

# Known formats of keys and tokens, in all files. Entropy says nothing here: fixtures and lock files are full of signatures and hashes.
# The words after --exclude-secrets are the passwords in URLs of tests.
secrets: $(TOOLS_STAMP)
	@git ls-files -z | xargs -0 $(TOOLS)/bin/detect-secrets-hook --disable-plugin Base64HighEntropyString \
		--disable-plugin HexHighEntropyString --disable-plugin KeywordDetector \
		--exclude-secrets '^(secret|hidden|pw|p%40ss)$$' --exclude-files '^tests/certificate/localhost\.key$$'
	@! git grep -nIE '\bcb_[0-9A-Za-z]{46}\b' || { echo "This is an API token of the bridge: revoke it." >&2; exit 1; }
	@echo "no secrets found"

sbom: $(TOOLS_STAMP)
	@mkdir -p build
	$(TOOLS)/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible \
		--output-file build/sbom.cdx.json requirements.txt

fuzz: $(TEST_STAMP)
	BRIDGE_STRANGERS=3000 BRIDGE_FUZZ=20000 $(BIN)/python -m pytest -s --timeout 3600 tests/fuzz tests/test_intake_fuzz.py

clean:
	rm -rf $(VENV) $(TOOLS) $(DEPLOY_TOOLS) var build *.egg-info .pytest_cache .mypy_cache .ruff_cache
