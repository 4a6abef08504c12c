PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# As many as tests/conftest.py thinks good for this machine; 0 runs all tests in one process.
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo test check fmt bench grafana types clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/demo: requirements/demo.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/demo.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/dev: requirements/dev.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@ $(VENV)/demo

demo: $(VENV)/demo ## Run a campaign with one-time passwords on an embedded server and a simulated Cloud API
	$(BIN)/dispatcher demo $(ARGS)

test: $(VENV)/dev ## Run the tests side by side (WORKERS=N at once, SERVER=path/to/redis-server on another server)
	$(BIN)/python -m pytest -n $(WORKERS) --dist load --maxschedchunk 1 $(if $(SERVER),--server $(SERVER)) $(ARGS)

check: $(VENV)/dev ## Format, lint, layers and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

fmt: $(VENV)/dev ## Format and repair what can be repaired
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/dev ## Measure what docs/performance.md explains
	$(BIN)/python -m tests.bench $(ARGS)

grafana: $(VENV)/dev ## Write the dashboards anew from their Python
	$(BIN)/python -m grafana.build

clean: ## Remove what the other targets made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
