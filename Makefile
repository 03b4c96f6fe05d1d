# One .venv holds everything: it is made on first use and left alone until pyproject.toml or constraints.txt change.
.POSIX:

PYTHON = python3
VENV = .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/installed
JOBS = 2
PYTEST = OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## make .venv (any other target does this by itself)

demo: $(STAMP) ## the main job: lab, replies, ratings, training, report (about 3 minutes)
	$(BIN)/pluralign demo --overwrite

test: $(STAMP) ## every test but the slow ones
	$(PYTEST) -n $(JOBS) --dist worksteal -m "not slow"

test-all: $(STAMP) ## every test
	$(PYTEST) -n $(JOBS) --dist worksteal

check: $(STAMP) ## ruff, types and the structural tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy src/pluralign
	$(BIN)/mypy --strict src/pluralign/data src/pluralign/losses
	$(PYTEST) tests/structure

format: $(STAMP) ## let ruff format and repair what it can
	$(BIN)/ruff check --fix src tests
	$(BIN)/ruff format src tests

wheel: $(STAMP) ## build the wheel, install it in a fresh environment, run the demo outside this folder
	rm -rf build dist
	$(BIN)/python -m build --wheel --outdir dist .
	set -e; \
	outside=$$(mktemp -d); \
	trap 'rm -rf "$$outside"' EXIT; trap 'exit 1' INT TERM HUP; \
	$(BIN)/python -m venv "$$outside/venv"; \
	"$$outside/venv/bin/python" -m pip install -q -c constraints.txt dist/*.whl; \
	cd "$$outside" && venv/bin/pluralign demo

clean: ## remove what was built (.venv and runs stay)
	rm -rf build dist src/pluralign.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "pluralign needs Python 3.11 or newer, and $(PYTHON) is not; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev,bench,gguf,judge,serve]'
	touch $(STAMP)

.PHONY: help setup demo test test-all check format wheel clean
