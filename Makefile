# Everything a newcomer needs is `make run` and `make test`; both set up what they need first.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RECIPE ?= configs/digits.toml
IMAGES ?= light cpu gpu mlflow
ENVIRONMENT ?= .github/release.toml
# A file of tests stays in one process, because what is costly is made once a file; a process takes up to 3 GB. Files
# begin in the order of their paths: the longest are among the first.
PYTEST = $(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.PHONY: help setup run test test-slow test-docker test-all lint format types infra lock ui docs site images push \
  pipeline package sbom sums audit release-notes clean

help: ## List these targets.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | sort | \
	  awk -F'\t' '{printf "  make %-13s %s\n", $$1, $$2}'

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
	@$(PYTEST) -m "slow and not engine"

test-docker: $(BIN)/.made-dev ## Run the tests that need a container engine; one is started where that can be done.
	@INCEPTION_TEST_DOCKER=1 $(BIN)/python -m pytest -m engine tests/e2e tests/infra

test-all: test test-slow test-docker ## Run all tests.

lint: $(BIN)/.made-dev ## Check style and formatting.
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

format: $(BIN)/.made-dev ## Mend style and formatting where that can be done by machine.
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

types: $(BIN)/.made-dev ## Check types.
	@$(BIN)/mypy && MYPYPATH=infra/mlflow $(BIN)/mypy --package inception_mlflow

infra: $(BIN)/.made-dev ## Check the files of Terraform and Kubernetes (needs terraform and kubectl).
	@for program in terraform kubectl; do \
	  command -v $$program > /dev/null || { echo "$$program is needed, and is not on the path."; exit 1; }; done
	@terraform -chdir=infra/terraform fmt -check -recursive
	@$(PYTEST) -m "not engine" tests/infra

docs: $(BIN)/.made-dev ## Write the generated reference pages anew.
	@$(BIN)/python docs/generate.py

site: $(BIN)/.made-dev ## Build the documentation into dist/site; a warning is an error.
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs dist/site
	@echo "dist/site/index.html"

lock: ## Resolve the dependencies anew (needs uv).
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  --extra train --extra export --group build pyproject.toml -o requirements/run.txt
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  --extra train --extra export --group build --group dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  --no-emit-package kubernetes --group light --group build -c requirements/run.txt -o requirements/light.txt
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  --group gpu -c requirements/run.txt -o requirements/gpu.txt
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  --group mlflow -c requirements/run.txt -c requirements/dev.txt -o requirements/mlflow.txt
	@uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet \
	  --group audit pyproject.toml -o requirements/audit.txt

# What images are made of: here a new file counts as a change, too.
INSIDE = components infra/mlflow pipelines requirements trainer
# Index settings are the builder's own: PIP_INDEX_URL of the environment is passed on where it is set, and kept nowhere.
images: ## Build the container images (IMAGES="light cpu" for some), as VERSION-COMMIT and latest.
	@version=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml); \
	commit=$$(git rev-parse HEAD); \
	dirty=$$(test -z "$$(git status --porcelain --untracked-files=no; git status --porcelain -- $(INSIDE))" || echo -dirty); \
	for image in $(IMAGES); do \
	  case $$image in mlflow) from="infra/mlflow/Dockerfile";; *) from="infra/images/Dockerfile --target $$image";; esac; \
	  echo "Building inception-$$image:$$version-$${commit:0:12}$$dirty …"; \
	  docker build --quiet --file $$from \
	    --build-arg PIP_INDEX_URL --build-arg PIP_EXTRA_INDEX_URL \
	    --build-arg VERSION=$$version --build-arg COMMIT=$$commit$$dirty \
	    --tag inception-$$image:$$version-$${commit:0:12}$$dirty --tag inception-$$image:latest . || exit 1; \
	done

push: $(BIN)/.made ## Push the images to REGISTRY, and write their digests to dist/images.json.
	@test -n "$(REGISTRY)" || { echo "Name the registry: make push REGISTRY=registry.example.com/team"; exit 1; }
	@mkdir -p dist && $(BIN)/inception images push --registry $(REGISTRY) --output dist/images.json

pipeline: $(BIN)/.made ## Compile the pipeline for ENVIRONMENT into dist/retrain.yaml.
	@mkdir -p dist && $(BIN)/inception compile configs/digits.toml --environment $(ENVIRONMENT) --output dist/retrain.yaml

package: $(BIN)/.made-dev ## Build wheel and source distribution into dist.
	@$(BIN)/python -m hatchling build --directory dist --target wheel --target sdist

# What scans and lists packages has a lock and an environment of its own, so that it can never change what is scanned.
$(VENV)-audit/.made: requirements/audit.txt
	@test -x $(VENV)-audit/bin/python || $(PYTHON) -m venv $(VENV)-audit
	@$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $<
	@touch $@

audit: $(VENV)-audit/.made ## Look for known vulnerabilities of the locked packages (asks PyPI).
	@$(VENV)-audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off \
	  $(foreach lock,run gpu mlflow,--requirement requirements/$(lock).txt)

# The locks that each image is made of. A package that two of them have is listed once.
LOCKS_light = light
LOCKS_cpu = run
LOCKS_gpu = run gpu
LOCKS_mlflow = mlflow

sbom: $(VENV)-audit/.made ## Write what each image is made of into dist/sbom (CycloneDX).
	@mkdir -p dist/sbom
	@set -o pipefail; $(foreach image,light cpu gpu mlflow,\
	  cat $(LOCKS_$(image):%=requirements/%.txt) | awk '/^[^ ]/ { new = !seen[$$1]++ } new' | \
	    $(VENV)-audit/bin/cyclonedx-py requirements - --pyproject pyproject.toml --output-reproducible --short-PURLs \
	      --output-format JSON --output-file dist/sbom/inception-$(image).cdx.json 2> /dev/null && ) ls dist/sbom/*.json

sums: ## Write the checksums of what is in dist to dist/SHA256SUMS.
	@cd dist && find . -type f ! -name SHA256SUMS ! -path './site/*' -printf '%P\n' | LC_ALL=C sort | xargs sha256sum > SHA256SUMS
	@cat dist/SHA256SUMS

release-notes: ## Print the changelog's part of VERSION, as its release takes it.
	@$(PYTHON) .github/release_notes.py $(VERSION)

ui: $(BIN)/.made ## Open MLflow's pages on the embedded store.
	@$(BIN)/inception ui

clean: ## Remove the environment and caches (never .inception/, which holds your models).
	@rm -rf $(VENV) $(VENV)-audit .mypy_cache .ruff_cache .pytest_cache dist
