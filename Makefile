# make run     everything, served on PORT (default 8000)
# make setup   the same without the run
# make test    all checks and tests, on SQLite and on PostgreSQL + Redis
# make test-long   the properties on fifty times as many examples: for a night
# make bench   the speed of the relay, beside a raw pass-through
# make screenshots   every page, light and dark, desktop and phone, into docs/screenshots/
# make lock    the lock files anew, from pyproject.toml

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes

.PHONY: setup run test test-long bench bench-pages screenshots lock lint clean
.DEFAULT_GOAL := run

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "CostRouter needs Python 3.11 or later.")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment. On Debian: apt-get install python3-venv" >&2; exit 1; }

# Stamps: what is installed is not installed again until its lock file changes.
$(VENV)/installed: requirements.txt | $(PY)
	$(PIP_INSTALL) -r requirements.txt
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt | $(PY)
	$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@ $(VENV)/installed

setup: $(VENV)/installed
	@$(PY) -m costrouter.secretfile
	@$(PY) manage.py bootstrap --demo

run: setup
	@$(PY) manage.py up

lint: $(VENV)/installed-dev
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# Three processes at once, but for tests that start the whole product and time what they kill.
TOGETHER := -n 3 --dist loadfile --no-loadscope-reorder -m "not e2e"
ALONE := -m e2e tests/journeys
PROPERTIES = $(shell grep -rlE "@given|RuleBasedStateMachine|schemathesis" tests --include='test_*.py')

# Tests have a folder and secrets of their own, so they never touch what `make run` made.
test: export VAR_DIR := $(CURDIR)/var/test
# What pytest makes of asserts is kept for the next process, even where the environment keeps no bytecode.
test: export PYTHONDONTWRITEBYTECODE :=
test: lint
	@$(PY) -m costrouter.secretfile
	@$(PY) -m tests.servers --install
	$(PY) manage.py makemigrations --check --dry-run
	$(PY) manage.py check --deploy --fail-level ERROR
	$(PY) -m pytest $(TOGETHER)
	$(PY) -m pytest $(ALONE)
	$(PY) -m tests.servers --quick -- $(PY) -m pytest $(TOGETHER) --servers
	$(PY) -m tests.servers -- $(PY) -m pytest $(ALONE)

test-long: export VAR_DIR := $(CURDIR)/var/test
test-long: export TEST_LONG := 1
test-long: $(VENV)/installed-dev
	@$(PY) -m costrouter.secretfile
	$(PY) -m pytest -n 2 --dist loadfile $(PROPERTIES)

bench: $(VENV)/installed-dev
	bash tests/benchmarks/run.sh

# Every page, admin list and API list beside a million records: milliseconds and queries.
bench-pages: $(VENV)/installed-dev
	$(PY) -m tests.benchmarks.pages

screenshots: $(VENV)/installed-dev
	@$(PY) -m tests.servers --install
	$(PY) -m tests.browser.screenshots

# The header names no command line, and no address of a package index is written down.
LOCK := UV_CUSTOM_COMPILE_COMMAND="make lock" $(PY) -m uv pip compile pyproject.toml --quiet --universal \
	--python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links

lock: $(VENV)/installed-dev
	$(LOCK) --upgrade -o requirements.txt
	$(LOCK) --upgrade --group dev -c requirements.txt -o requirements-dev.txt

clean:
	rm -rf $(VENV)/installed $(VENV)/installed-dev .mypy_cache .ruff_cache .import_linter_cache
