# `make` alone lists the targets. quickstart and test need nothing set up beforehand.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTHON_DIRS := src entrypoints tests scripts harnesses
# Those of one engine, some of which measure time, one after another; the others two files at a time.
ALONE := tests/benchmarks tests/containers tests/faults
TOGETHER := tests/containers/harnesses tests/contract tests/unit harnesses
SHELL_FILES := scripts/setup scripts/lock .ci/run images/base/install-missing $(wildcard images/tools/*)

help: ## list the targets
	@grep -hE '^[a-z/%-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

quickstart: ## build what is missing, evaluate a small real model in containers, print table and report
	@scripts/setup run
	@$(BIN)/evaldock quickstart $(ARGS)

test: ## everything: lint, types, unit tests, real containers (installs and starts what it needs)
	@scripts/setup dev
	@$(MAKE) --no-print-directory check
	@$(BIN)/pytest -m "containers or slow" $(ALONE) --ignore=tests/containers/harnesses $(ARGS)
	@$(BIN)/pytest -m "containers or slow" -n 2 --dist loadfile $(TOGETHER) $(ARGS)

check: lint types unit ## the quick suite

lint: ## format, lint, spelling, import walls, shell, Dockerfiles, generated files
	@scripts/setup dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/shellcheck $$(grep -lE '^#!.*\b(ba)?sh' $(SHELL_FILES))
	$(BIN)/hadolint images/*/Dockerfile

types: ## mypy strict
	@scripts/setup dev
	$(BIN)/mypy

unit: ## quick tests, no container engine
	@scripts/setup dev
	$(BIN)/pytest -m "not containers and not slow" -n 2 -q

parity: ## every declared lm-eval task against plain lm-eval, to the last digit; prints a table (13 minutes; TASKS=a,b)
	@scripts/setup dev
	@EVALDOCK_PARITY=$(or $(TASKS),all) $(BIN)/pytest -m "containers or slow" -s tests/containers/harnesses/test_parity.py $(ARGS)

images: ## build all images
	@scripts/setup run
	@$(BIN)/evaldock build

image/%: ## build one image and its parents
	@scripts/setup run
	@$(BIN)/evaldock build $*

data/%: ## lay out benchmark data you have as JSON lines: make data/mmlu_pro FROM=FOLDER (gsm8k, ifeval, math500)
	@scripts/setup run
	@$(BIN)/python -m evaldock.local_data $* "$(FROM)" $(CURDIR)/data

generate: ## write the generated files (registry.yaml, docs/reference)
	@scripts/setup run
	@$(BIN)/python -m scripts.generate

lock: ## resolve the requirements of evaldock itself again
	@scripts/setup run
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/lock

clean: ## remove the environment and tool caches of this checkout
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.PHONY: help quickstart test check lint types unit parity images generate lock clean
