# Everything a newcomer needs is `make run` and `make test`; both set up what they need first.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RECIPE ?= configs/digits.toml
IMAGES ?= light cpu gpu
# A file of tests stays in one process, because what is costly is made once a file; a process takes up to 3 GB.
PYTEST = $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

.PHONY: help setup run test test-slow test-all lint format types lock ui docs images clean

help: ## List these targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | sort | \
	  awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

# The stamps remember which lock file the environment was made from; the development lock holds all of the other.
$(BIN)/.made: requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed, $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12 run"; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV) …"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the pinned packages into $(VENV): about 2 GB and a minute or two, once …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/run.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(BIN)/.made-dev: requirements/dev.txt $(BIN)/.made
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/dev.txt
	@touch $@

setup: $(BIN)/.made-dev ## Install everything, for running and for development, into .venv.

run: $(BIN)/.made ## Run the main job: train, decide, register, on the embedded digits (RECIPE=… for another).
	@$(BIN)/inception run $(RECIPE)

test: $(BIN)/.made-dev ## Run the tests (under ten minutes on two cores).
	@$(PYTEST) -m "not slow"

test-slow: $(BIN)/.made-dev ## Run the slow tests alone.
	@$(PYTEST) -m slow

test-all: test test-slow ## Run all tests.

lint: $(BIN)/.made-dev ## Check style and formatting.
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: $(BIN)/.made-dev ## Mend style and formatting where that can be done by machine.
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

types: $(BIN)/.made-dev ## Check types.
	@$(BIN)/mypy

docs: $(BIN)/.made-dev ## Write the generated reference pages anew.
	@$(BIN)/python docs/generate.py

lock: ## Resolve the dependencies anew (needs uv).
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  --extra train --extra export --group build pyproject.toml -o requirements/run.txt
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  --extra train --extra export --group build --group dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  --no-emit-package kubernetes --group light --group build -c requirements/run.txt -o requirements/light.txt
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  --group gpu -c requirements/run.txt -o requirements/gpu.txt

# Index settings are the builder's own: PIP_INDEX_URL of the environment is passed on where it is set, and kept nowhere.
images: ## Build the container images (IMAGES="light cpu" for some), as VERSION-COMMIT and latest.
	@version=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml); \
	commit=$$(git rev-parse HEAD); \
	dirty=$$(test -z "$$(git status --porcelain --untracked-files=no)" || echo -dirty); \
	for image in $(IMAGES); do \
	  echo "Building inception-$$image:$$version-$${commit:0:12}$$dirty …"; \
	  docker build --quiet --file infra/images/Dockerfile --target $$image \
	    --build-arg PIP_INDEX_URL --build-arg PIP_EXTRA_INDEX_URL \
	    --build-arg VERSION=$$version --build-arg COMMIT=$$commit$$dirty \
	    --tag inception-$$image:$$version-$${commit:0:12}$$dirty --tag inception-$$image:latest . || exit 1; \
	done

ui: $(BIN)/.made ## Open MLflow's pages on the embedded store.
	@$(BIN)/inception ui

clean: ## Remove the environment and caches (never .inception/, which holds your models).
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache dist
