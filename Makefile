# Everything a developer or CI does here. `make` alone lists the targets.

VENV := .venv
BIN := $(VENV)/bin
# The newest Python of 3.11-3.13 that really runs and can make virtual environments.
FIND_PYTHON = for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
	if $$python -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; \
	then echo $$python; exit 0; fi; done; \
	echo 'Ostinato needs Python 3.11, 3.12 or 3.13 with venv (on Debian: apt-get install python3-venv).' >&2; exit 1
PIP = $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
LOCK = $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-header --no-annotate pyproject.toml
BUF = PATH="$(CURDIR)/$(BIN):$$PATH" buf
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help setup run run-cloud test test-fast test-zones test-more lint format protos protos-verify protos-release schema schema-verify test-cloud test-pgbouncer simulate simulate-long bench bench-queue bench-engine bench-reminders chaos \
	migrate lock clean clean-all

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed-dev ## Install everything that developing and testing needs into .venv

run: $(VENV)/.installed ## Start PostgreSQL, the three services and the examples; Ctrl-C stops them
	@$(BIN)/ostinato up $(ARGS)

run-cloud: $(VENV)/.installed-dev ## The same with Cloud Tasks and Pub/Sub of this machine, in memory
	@$(BIN)/ostinato up --cloud $(ARGS)

test: lint ## All that CI runs: checks and every test
	@$(BIN)/pytest $(PYTEST_ARGS)

test-fast: $(VENV)/.installed-dev ## The tests that need no database and no processes
	@$(BIN)/pytest $(PYTEST_ARGS) tests/unit tests/property tests/architecture

test-cloud: $(VENV)/.installed-dev ## The tests of whole installations, each with its tasks in local Cloud Tasks
	@OSTINATO_E2E_CLOUD=1 $(BIN)/pytest $(PYTEST_ARGS) tests/e2e

test-pgbouncer: $(VENV)/.installed-dev ## The tests of whole installations, each through a pgbouncer in transaction mode
	@OSTINATO_E2E_PGBOUNCER=1 $(BIN)/pytest $(PYTEST_ARGS) tests/e2e

test-zones: $(VENV)/.installed-dev ## Every change of the clock of every time zone from 1970 to 2099: half an hour
	@OSTINATO_TEST_EVERY_ZONE=1 $(BIN)/pytest $(PYTEST_ARGS) tests/property/test_zones.py

test-more: $(VENV)/.installed-dev ## What CI takes a part of: planted bugs, simulated deaths, benchmarks, a week of schedules
	@OSTINATO_TEST_EVERYTHING=1 $(BIN)/pytest $(PYTEST_ARGS) tests/simulation tests/integration/benchmarks

lint: $(VENV)/.installed-dev ## Style, types, import contracts, protos, generated files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BUF) lint
	$(BUF) format --diff --exit-code
	$(BUF) breaking --against protos/released.binpb
	@$(MAKE) --no-print-directory protos-verify schema-verify

# The order of sets of strings is part of what a seed decides.
SIMULATE = PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation

simulate: $(VENV)/.installed-dev ## Replay the random walk of SEED=n: what happened, as a digest, and the verdict
	@$(SIMULATE) --seed $(or $(SEED),1) $(ARGS)

SIMULATE_ALL_CORES = $(SIMULATE) --first $(or $(FIRST),1000) --jobs $$($(BIN)/python -c 'import os; print(os.cpu_count())')

simulate-long: $(VENV)/.installed-dev ## Random walks that CI does not take: SECONDS=600, ORDERS=1000 of reminders, SLOTS=1000000 of schedules
	@failed=0; $(SIMULATE) --first $(or $(FIRST),1000) --seconds $(or $(SECONDS),600) || failed=1; \
	$(SIMULATE_ALL_CORES) --orders --most $(or $(ORDERS),1000) --seconds 86400 || failed=1; \
	$(SIMULATE_ALL_CORES) --slots --least-slots $(or $(SLOTS),1000000) --seconds 0 || failed=1; exit $$failed

format: $(VENV)/.installed-dev ## Rewrite sources and protos in the house style
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format
	$(BUF) format --write

protos: $(VENV)/.installed-dev ## Generate libs/ostinato/pb from protos/
	@PATH="$(CURDIR)/$(BIN):$$PATH" python tools/generate_protos.py

protos-verify: $(VENV)/.installed-dev ## Fail if the generated code is not current
	PATH="$(CURDIR)/$(BIN):$$PATH" python tools/generate_protos.py --verify

protos-release: $(VENV)/.installed-dev ## Make today's protos what later ones must stay compatible with
	$(BUF) build -o protos/released.binpb

schema: $(VENV)/.installed-dev ## Write docs/schema.txt from the migrations
	$(BIN)/python tools/dump_schema.py

schema-verify: $(VENV)/.installed-dev ## Fail if docs/schema.txt is not current
	$(BIN)/python tools/dump_schema.py --verify

bench: $(VENV)/.installed-dev ## Measure the queue, the scheduler and reminders on this machine
	$(BIN)/python -m benchmarks $(ARGS)

bench-queue: $(VENV)/.installed-dev ## Measure the task queue, beside a hand-written loop
	$(BIN)/python -m benchmarks queue $(ARGS)

bench-engine: $(VENV)/.installed-dev ## Measure the scheduler through its real processes
	$(BIN)/python -m benchmarks engine $(ARGS)

bench-reminders: $(VENV)/.installed-dev ## Measure tasks on their way to Cloud Tasks, beside bare calls of its client
	@$(BIN)/python -m benchmarks reminders $(ARGS)

chaos: $(VENV)/.installed-dev ## Kill everything again and again under load, and count what is lost or done twice
	$(BIN)/python -m chaos $(ARGS)

migrate: $(VENV)/.installed ## Bring the schema of OSTINATO_DATABASE_URL up to date
	@$(BIN)/ostinato migrate $(ARGS)

lock: $(VENV)/.installed-dev ## Resolve the dependencies anew and pin them with hashes
	@test -x $(BIN)/uv || $(PIP) install uv
	$(LOCK) --extra services --extra cloud --extra embedded --extra build --output-file requirements.lock $(ARGS)
	$(LOCK) --all-extras --constraint requirements.lock --output-file requirements-dev.lock $(ARGS)

clean: ## Remove the data of `make run` and all caches
	@$$($(FIND_PYTHON)) tools/clean.py

clean-all: clean ## The same, and the virtual environment
	rm -rf $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(call install,requirements.lock)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock pyproject.toml
	@$(call install,requirements-dev.lock)
	@touch $@ $(VENV)/.installed

# The lock first, every file checked against its hash; then the project itself, which looks for nothing more.
define install
echo 'Installing $(1) into $(VENV) ...'; \
$(BIN)/python -c '' 2>/dev/null || { python=$$($(FIND_PYTHON)) && $$python -m venv --clear $(VENV); } && \
$(PIP) install --require-hashes --only-binary :all: -r $(1) && \
$(PIP) install --no-deps --no-build-isolation --editable .
endef
