# Targets for a fresh machine that has only Python >= 3.11, make and a network to the package registries.
# Everything is installed into ./.venv; nothing outside this folder is changed.

VENV := .venv
FOR_RUN := .[s3,market]
FOR_DEV := .[s3,market,dev]
PORT ?= 9000
RUN_ARGS ?=
TEST_ARGS ?=
TEST_WORKERS ?= auto
BENCH_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: run test check lint format docs bench clean help

run: $(VENV)/.installed-run ## Make a vault in ./data with a simulated trading day, and serve it over S3
	@exec $(VENV)/bin/tickvault demo --vault data --port $(PORT) $(RUN_ARGS)

test: $(VENV)/.installed-dev ## Run the tests, in parallel
	$(VENV)/bin/python -m pytest -n $(TEST_WORKERS) --maxprocesses 4 --dist loadfile $(TEST_ARGS)

check: lint test ## Format, lint, types, import contract, tests: what has to pass before a commit

lint: $(VENV)/.installed-dev ## Format, lint, types and the import contract, without the tests
	$(VENV)/bin/ruff format --check src tests
	$(VENV)/bin/ruff check src tests
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/.installed-dev ## Format the code and mend what lint can mend
	$(VENV)/bin/ruff format src tests
	$(VENV)/bin/ruff check --fix src tests

docs: $(VENV)/.installed-dev ## Make the pages that are made from the code
	$(VENV)/bin/python -m tickvault.cli.reference > docs/reference/cli.md

bench: $(VENV)/.installed-run ## Measure this machine against the published budgets
	$(VENV)/bin/tickvault bench embedded $(BENCH_ARGS)
	$(VENV)/bin/tickvault bench s3 $(BENCH_ARGS)
	$(VENV)/bin/tickvault bench security $(BENCH_ARGS)
	$(VENV)/bin/tickvault bench market $(BENCH_ARGS)

clean: ## Remove the environment and caches; ./data stays
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# A stamp is newer than what it was installed from; an interrupted installation leaves none.
$(VENV)/.installed-run: pyproject.toml | $(VENV)/bin/python
	@echo "installing TickVault into ./$(VENV)"
	@$(call install,$(FOR_RUN))
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo "installing TickVault and its test tools into ./$(VENV) (a minute or two)"
	@$(call install,$(FOR_DEV))
	@touch $@ $(VENV)/.installed-run

$(VENV)/bin/python:
	@python=$$(sh tools/find-python.sh) || exit 1; \
	"$$python" -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "make: $$python could not make a virtual environment in ./$(VENV); its reason stands above" >&2; exit 1; }

define install
$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '$(1)' || { \
  echo "make: pip could not install $(1); its reason stands above." >&2; \
  echo "make: a network (or a mirror, set with 'pip config') to the Python package registry is needed once." >&2; \
  exit 1; }
endef
