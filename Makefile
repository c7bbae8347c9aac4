# Needs Python 3.11, 3.12 or 3.13; `make` installs everything else into .venv.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
UV := VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: help install install-demo lock format lint typecheck test bench demo clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/uv: requirements/uv.txt
	@if [ -z "$(PYTHON)" ]; then echo "No Python 3.11, 3.12 or 3.13 found. Install one, or name it: make PYTHON=/path/to/python3.12"; exit 1; fi
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v[:2] <= (3, 13) else f"Python {v[0]}.{v[1]} is not supported: install 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

.venv/demo: .venv/uv requirements/demo.txt pyproject.toml
	$(UV) pip install -q --require-hashes -r requirements/demo.txt
	$(UV) pip install -q --no-deps -e .
	@touch $@

.venv/dev: .venv/uv requirements/dev.txt pyproject.toml
	$(UV) pip install -q --require-hashes -r requirements/dev.txt
	$(UV) pip install -q --no-deps -e .
	@touch $@ .venv/demo

install-demo: .venv/demo  ## what the demo needs: no TensorFlow, no development tools
install: .venv/dev  ## everything, development tools and TensorFlow included

lock: .venv/uv  ## pin the versions again, with hashes
	$(LOCK) pyproject.toml --all-extras --group dev -o requirements/dev.txt
	$(LOCK) pyproject.toml --extra local -c requirements/dev.txt -o requirements/demo.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt -o requirements/worker.txt
	$(LOCK) pyproject.toml --extra faces -c requirements/dev.txt -o requirements/faces.txt

format: install  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --exit-zero -q .

lint: install  ## ruff and the import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

typecheck: install  ## mypy, strict
	$(BIN)/mypy

test: install  ## every test; ARGS="-k name" narrows it
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

bench: install  ## events per second, latency and memory, as ratios to plain clients
	$(BIN)/python tests/benchmarks/pipeline.py $(ARGS)

# SELFIE may name several files, separated by spaces.
demo: $(if $(PHOTOS)$(SELFIE),.venv/dev,.venv/demo)  ## the whole pipeline on this machine; PHOTOS=DIR SELFIE=FILE add faces
	$(BIN)/gallery demo $(if $(PHOTOS),--photos "$(PHOTOS)") $(foreach file,$(SELFIE),--selfie "$(file)") $(ARGS)

clean:  ## remove the environment and the embedded stack's data
	rm -rf .venv .gallery
