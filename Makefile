# Development of Skyferry: `make help` lists what there is. Nothing is installed outside this folder.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The interpreter that .venv is made from; `make install PYTHON=python3.12` takes another one.
PYTHON ?= python3
PY := .venv/bin/python
UV := stack/uv.sh
# `make test ARGS="-k manifest -x"`
ARGS ?=
# Most tests wait for other programs, so two processes take little more than half of the time, also on one core.
TEST_PROCESSES ?= 2

# Stamps carry a checksum of what they were installed from, so neither a checkout nor a rebuilt clone reinstalls for
# the sake of a file date.
key = $(firstword $(shell cat $(1) | cksum))
PYTHON_FILES := requirements.txt requirements-dev.txt pyproject.toml
NODE_FILES := stack/azurite/package-lock.json
PAGE := plugins/transfer_api/page
PYTHON_STAMP := .venv/installed-$(call key,$(PYTHON_FILES))
BENCH_STAMP := .venv-bench/installed-$(call key,requirements-bench.txt)
NODE_STAMP := stack/azurite/node_modules/installed-$(call key,$(NODE_FILES))
PAGE_STAMP := $(PAGE)/node_modules/installed-$(call key,$(PAGE)/package-lock.json)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  Ports of the stack, for example make up MOTO_PORT=5001: MOTO_PORT (5000), AZURITE_PORT (10000), GCS_PORT (4443), AIRFLOW_PORT (8080)"

# --- Set-up -----------------------------------------------------------------------------------------------------

.PHONY: install
install: $(PYTHON_STAMP) $(NODE_STAMP) $(PAGE_STAMP) ## Install everything into this folder (once; quick when nothing changed)

$(PYTHON_STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null || { \
	    echo "error: Python 3.11, 3.12 or 3.13 is needed, but $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>/dev/null || echo not there); install one, then: make PYTHON=python3.12 install" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "error: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PY) -c '' 2>/dev/null || { echo "Creating .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear .venv; }
	@test -x .venv/bin/uv || { echo "Installing uv"; $(PY) -m ensurepip >/dev/null; \
	    $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
	    -r <(sed -n '/^uv==/,/^ *#/p' requirements-dev.txt); }
	@echo "Installing Python packages (about 2 GB with bytecode; a minute or two)"
	$(UV) pip sync --python $(PY) --require-hashes requirements.txt requirements-dev.txt
	@echo "Compiling bytecode, with which Airflow starts in half the time"
	@(while sleep 3; do echo "  still compiling ..."; done) & beat=$$!; trap "kill $$beat" EXIT; \
	    $(UV) pip sync --python $(PY) --require-hashes --compile-bytecode requirements.txt requirements-dev.txt
	$(UV) pip install --python $(PY) --no-deps --no-build-isolation --editable .
	@rm -f .venv/installed-* && touch $@

# An npm of the machine knows its registry and certificates; without one, the npm of the wheel is taken. The Node that
# runs Azurite is always the wheel's.
$(NODE_STAMP): | $(PYTHON_STAMP)
	@echo "Installing Azurite (450 npm packages)"
	@cd stack/azurite && PATH="$$PATH:$(CURDIR)/.venv/bin" npm ci --omit=dev --ignore-scripts --no-audit --no-fund \
	    --loglevel=http 2>&1 | awk '/http fetch/ {if (++n % 50 == 0) {print "  " n " packages fetched"; fflush()}; next} \
	    /EBADENGINE|^npm warn/ {next} {print; fflush()}'
	@touch $@

$(PAGE_STAMP): | $(PYTHON_STAMP)
	@echo "Installing the charts of the Transfers page"
	@cd $(PAGE) && PATH="$$PATH:$(CURDIR)/.venv/bin" npm ci --omit=dev --ignore-scripts --no-audit --no-fund --silent
	@touch $@

.PHONY: lock
lock: $(PYTHON_STAMP) ## Compile the locks after a change of requirements*.in (keeps what is pinned; ARGS=--upgrade)
	$(COMPILE) requirements.in --output-file requirements.txt $(ARGS)
	$(COMPILE) requirements-dev.in --output-file requirements-dev.txt $(ARGS)
	$(COMPILE) requirements-bench.in --output-file requirements-bench.txt $(ARGS)

COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"

# --- Local stack ------------------------------------------------------------------------------------------------

.PHONY: up
up: install ## Start the emulators and Airflow in the background and wait until they are healthy
	@$(PY) -m stack up

.PHONY: down
down: ## Stop what `make up` started
	@test ! -x $(PY) || $(PY) -m stack down

.PHONY: status
status: install ## Show the components of the stack, their addresses and health
	@$(PY) -m stack status

# What comes out is fed to eval, so anything that installing has to say goes to stderr.
.PHONY: env
env: ## Print what makes a shell part of the stack: eval "$(make -s env)"
	@$(MAKE) --no-print-directory -s install >&2
	@$(PY) -m stack env

.PHONY: demo
demo: up ## Move a few thousand real files between all stores and check every one of them
	@$(PY) -m demo

# The watch folder has to exist; all other folders, the bucket and the queue are made by the routes.
.PHONY: producer
producer: up ## Upload what is dropped into exchange/Watch, and tell a queue (docs/guide/watch-folder.md)
	@mkdir -p exchange/Watch
	@$(PY) -m stack on transfer__watch_folder

.PHONY: consumer
consumer: up ## Download what the queue tells of into exchange/DownloadedFromS3
	@$(PY) -m stack on consume__skyferry-uploads

.PHONY: pipeline
pipeline: producer consumer ## Both: exchange/Watch, S3 and the queue, exchange/DownloadedFromS3

# --- Benchmarks -------------------------------------------------------------------------------------------------

# `make bench BENCH_MODE=full` gives the figures that count; it takes hours.
BENCH_MODE ?= quick

.PHONY: bench
bench: install $(BENCH_STAMP) ## Compare with rclone, s5cmd and the stock operators (BENCH_MODE=quick or full)
	$(PY) -m bench --mode $(BENCH_MODE) $(ARGS)

.PHONY: bench-events
bench-events: install ## Measure seconds from put to commit of event-driven routes, and messages a second
	$(PY) -m bench.events $(ARGS)

.PHONY: bench-history
bench-history: install ## Measure the statistics of up to 10,000 runs: seconds and memory, with and without a cache
	$(PY) -m bench.history $(ARGS)

.PHONY: bench-resume
bench-resume: install ## Measure what is sent again when a worker is killed in the middle of 1 GiB
	$(PY) -m bench.resume $(ARGS)

.PHONY: bench-verbs
bench-verbs: install $(BENCH_STAMP) ## Measure put and get of files of 1 MB to 1.5 GB beside rclone copyto
	$(PY) -m bench.verbs $(ARGS)

.PHONY: bench-celery
bench-celery: install ## Measure two Celery workers over one, and 1, 10 and 100 routes on Postgres (half an hour)
	$(PY) -m bench.cluster $(ARGS)

# The rivals have an environment of their own, because `make install` removes from .venv what its locks do not name.
$(BENCH_STAMP): | $(PYTHON_STAMP)
	@$(UV) venv --quiet --clear --python $(PY) .venv-bench
	$(UV) pip sync --quiet --python .venv-bench/bin/python --require-hashes requirements-bench.txt
	@touch $@

# --- Tests and checks -------------------------------------------------------------------------------------------

.PHONY: test
test: install ## Run the tests (ARGS="-k manifest -x" for some of them)
	$(PY) -m pytest -n $(TEST_PROCESSES) $(ARGS)

.PHONY: test-celery
test-celery: install ## Kill one of two Celery workers in the middle of a transfer (needs postgres and redis-server)
	$(PY) -m pytest tests/celery $(ARGS)

.PHONY: check
check: check-code check-generated check-compose check-lock ## Run every check that is not a test

.PHONY: check-code
check-code: install ## Lint, formatting and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

.PHONY: check-generated
check-generated: install ## Are the generated files current?
	.venv/bin/python -m skyferry.reference --check
	PYTHONPATH=plugins .venv/bin/python -m transfer_api.api_reference --check

.PHONY: check-compose
check-compose: install ## Is docker-compose.yaml valid? (Needs no Docker.)
	.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yaml

.PHONY: check-lock
check-lock: install ## Do the locks hold what the requirements ask for?
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	for name in requirements requirements-dev requirements-bench; do \
	    echo "compiling $$name.in (half a minute with a cold cache)"; \
	    cp $$name.txt "$$folder/"; \
	    $(COMPILE) $$name.in --output-file "$$folder/$$name.txt"; \
	    cmp -s $$name.txt "$$folder/$$name.txt" || { echo "error: $$name.txt is not current; run: make lock" >&2; exit 1; }; \
	done

.PHONY: format
format: install ## Format the code and fix what ruff can fix
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

.PHONY: clean
clean: down ## Remove everything that was installed or written, except for the sources
	rm -rf .venv .venv-bench .stack build stack/azurite/node_modules $(PAGE)/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
