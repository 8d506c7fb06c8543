# Every target makes and fills .venv by itself; nothing is needed but Python 3.11-3.13 and pip.
PYTHON ?= python3
FAISS ?= cpu
PIP_OPTIONS ?=
BIN := .venv/bin
INSTALLED := .venv/.installed-$(FAISS)
PYTEST := $(BIN)/python -m pytest
AXE := .venv/node_modules/axe-core/axe.min.js

# Without compiled bytecode every worker process starts three times slower.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install quickstart test test-plain test-clusters test-pages test-slow lint format docs clean

help:  ## Show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(PIP_OPTIONS) --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(FAISS),dev]'
	@rm -f .venv/.installed-*
	@touch $@

install: $(INSTALLED)  ## Make .venv with everything in it

quickstart: $(INSTALLED)  ## Run the quickstart study and write its report
	$(BIN)/labelbench run experiments/quickstart.yaml

test: test-plain test-clusters test-pages  ## All tests this machine can run (make -j3 test: all kinds at once)

# Tests of clusters and pages spend half of their time waiting. All else may fill it, and at a lower priority it makes
# nobody late.
test-plain: $(INSTALLED)  ## Tests that need nothing but a processor
	nice -n 10 $(PYTEST) -n 2 --dist worksteal -m "not ray and not gpu and not browser and not network and not slow"

test-clusters: $(INSTALLED)  ## Tests that need Ray or a GPU
	$(PYTEST) -m "(ray or gpu) and not browser and not slow and not network"

# Without npm the test of accessibility is skipped.
$(AXE): | $(INSTALLED)
	-npm install --silent --no-save --no-package-lock --no-audit --no-fund --prefix .venv axe-core@4.14.1

test-pages: $(INSTALLED) $(AXE)  ## Tests that need a browser
	$(PYTEST) -m "browser and not slow and not network"

test-slow: $(INSTALLED)  ## Long matrices and chaos
	$(PYTEST) -m "slow and not network"

lint: $(INSTALLED)  ## Style, types and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove .venv and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
