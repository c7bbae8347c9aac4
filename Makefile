# Needs Python 3.11, 3.12 or 3.13; `make` installs everything else into .venv.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
UV := VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"

# The viewer's page; "yes" when the Node that is there can build it.
VIEWER := grafana/viewer
VIEWER_FILES := $(VIEWER)/index.html $(VIEWER)/vite.config.ts $(shell find $(VIEWER)/src $(VIEWER)/public -type f)
NODE := $(shell node -e 'const [a, b] = process.versions.node.split(".").map(Number); if (a > 20 || (a === 20 && b >= 19)) console.log("yes")' 2>/dev/null)
NO_NODE := Node 20.19 or newer is missing, so the dashboards are not built: install it (nodejs.org), then run make viewer.

.DEFAULT_GOAL := help
.PHONY: bench-faces bench-face-throughput bench-hard-faces
.PHONY: help install install-demo viewer lock format lint typecheck test check-viewer browser bench bench-exports chaos long demo clean

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

$(VIEWER)/node_modules/.package-lock.json: $(VIEWER)/package.json $(VIEWER)/package-lock.json
	cd $(VIEWER) && npm ci --no-audit --no-fund --loglevel=error

$(VIEWER)/dist/index.html: $(VIEWER)/node_modules/.package-lock.json $(VIEWER_FILES)
	cd $(VIEWER) && npm run --silent build -- --logLevel=error

install-demo: .venv/demo  ## what the demo needs: no TensorFlow, no development tools
install: .venv/dev $(if $(NODE),viewer)  ## everything, development tools and TensorFlow included
	@$(if $(NODE),:,echo "$(NO_NODE)")

viewer: $(if $(NODE),$(VIEWER)/dist/index.html)  ## the page with the dashboards, for a browser; needs Node 20.19
	@$(if $(NODE),:,echo "$(NO_NODE)"; exit 1)

lock: .venv/uv  ## pin the versions again, with hashes
	$(LOCK) pyproject.toml --all-extras --group dev -o requirements/dev.txt
	$(LOCK) pyproject.toml --extra local --extra exports -c requirements/dev.txt -o requirements/demo.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt -o requirements/worker.txt
	$(LOCK) pyproject.toml --extra faces -c requirements/dev.txt -o requirements/faces.txt

format: .venv/dev  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --exit-zero -q .
	$(if $(NODE),cd $(VIEWER) && npm run --silent format)

lint: .venv/dev  ## ruff and the import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

typecheck: .venv/dev  ## mypy, strict
	$(BIN)/mypy

test: install  ## every test but those in a browser; ARGS="-k name" narrows it
	$(BIN)/pytest -n 2 --dist loadfile -m "not browser" $(ARGS)

check-viewer: $(if $(NODE),$(VIEWER)/node_modules/.package-lock.json)  ## lint, types and tests of the viewer's TypeScript
	$(if $(NODE),cd $(VIEWER) && npm run --silent lint && npm run --silent typecheck && npm run --silent test,@echo "$(NO_NODE)")

browser: install  ## the dashboards in headless Chromium; pictures of them in .browser
	$(BIN)/pytest -m browser tests/browser $(ARGS)

bench: .venv/dev  ## events per second, latency and memory, as ratios to plain clients
	$(BIN)/python tests/benchmarks/pipeline.py $(ARGS)

bench-panels: install  ## ms of every query of every dashboard and alert; ARGS="--events 1000000 --shape one"
	$(BIN)/python tests/benchmarks/panels.py $(ARGS)

chaos: install  ## seeded runs with faults between any two steps; ARGS="--runs 1000"; on real processes: ARGS="--real --runs 60"
	$(BIN)/python tests/chaos/run.py $(ARGS)

long: install  ## tests that take minutes: ClickHouse and the broker away for some, workers restarted one by one
	$(BIN)/pytest -m long $(ARGS)

bench-exports: install  ## time and peak memory of exports: a report of 1M events, 10M raw events; ARGS="--raw 2000000"
	$(BIN)/python tests/benchmarks/exports.py $(ARGS)

bench-faces: install  ## grouping faces beside peers: quality, time, memory; ARGS="--quick"
	$(BIN)/python tests/benchmarks/faces.py $(ARGS)

bench-face-throughput: install  ## photos a second beside DeepFace.represent; ARGS="--photos DIR"
	$(BIN)/python tests/benchmarks/face_throughput.py $(ARGS)

bench-hard-faces: install  ## groups of blurred, badly lit and covered faces; ARGS="--photos DIR"
	$(BIN)/python tests/benchmarks/face_hardships.py $(ARGS)

# SELFIE may name several files, separated by spaces.
demo: $(if $(PHOTOS)$(SELFIE),.venv/dev,.venv/demo)  ## the whole pipeline on this machine; PHOTOS=DIR SELFIE=FILE add faces
	@$(if $(NODE),$(MAKE) --no-print-directory viewer || echo "The dashboards could not be built (see above); the demo goes on without them.",echo "$(NO_NODE)")
	$(BIN)/gallery demo $(if $(PHOTOS),--photos "$(PHOTOS)") $(foreach file,$(SELFIE),--selfie "$(file)") $(ARGS)

clean:  ## remove the environment and the embedded stack's data
	rm -rf .venv .gallery .browser $(VIEWER)/node_modules $(VIEWER)/dist
