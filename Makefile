# One target an intention: setup, demo, demo-clean, test, faults, check, fix, bench, lock.
# A machine needs Python 3.11 or newer with venv, git and make; everything else comes into .venv, which can be deleted at any time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
UV := $(BIN)/python requirements/uv.py
MEMBERS := wire agent hub provisioning
CLIPS := .prahari/demo/clips/incidents-1.mp4 .prahari/demo/clips/passages-2.mp4

# Where tests and the demo find clips and models that nobody on this project made.
export PRAHARI_MEDIA ?= $(abspath ../shared/media)

# Certificates that the machine trusts besides the usual ones hold for Node too.
ifdef SSL_CERT_FILE
export NODE_EXTRA_CA_CERTS ?= $(SSL_CERT_FILE)
endif

# A program whose modules are compiled anew at each start takes three times as long to start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-clean test faults check fix bench bench-cameras lock clean

help: ## say what each target does
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1  \2/p' Makefile

setup: $(STAMP)-fonts $(STAMP)-ui $(CLIPS) ## install everything into .venv, draw the demo's clips

$(STAMP)-uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is older than Python 3.11: install a newer one and run make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "$(PYTHON) cannot make virtual environments: install its venv package (Debian: apt install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(STAMP)-packages: requirements/dev.txt requirements/uv.py $(STAMP)-uv
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

$(STAMP)-members: $(MEMBERS:%=%/pyproject.toml) $(STAMP)-packages
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(MEMBERS:%=-e %)
	@$(BIN)/python -m compileall -q -j 0 $(MEMBERS:%=%/src)  # once, instead of in each of the processes that start first
	@touch $@

$(STAMP)-fonts: $(filter-out %/__pycache__,$(wildcard agent/fonts/*)) $(STAMP)-members
	$(BIN)/python agent/fonts/build.py
	@touch $@

$(STAMP)-ui: $(shell find hub/ui -type f -not -path '*/node_modules/*' -not -path '*/__pycache__/*' 2>/dev/null) $(STAMP)-members
	$(BIN)/python hub/ui/build.py
	@touch $@

$(CLIPS): | $(STAMP)-members
	@mkdir -p -m 700 .prahari/demo && mkdir -p $(@D)
	$(BIN)/prahari-agent clip $@ --scene $(firstword $(subst -, ,$(basename $(@F)))) --seed $(lastword $(subst -, ,$(basename $(@F))))

demo: setup ## a hub and three devices on this machine; CLIP=… MODEL=… SWARM=… are yours
	@$(BIN)/prahari-provision demo $(if $(CLIP),--clip "$(CLIP)") $(if $(MODEL),--model "$(MODEL)") $(if $(SWARM),--swarm "$(SWARM)")

demo-clean: ## forget the demo's state
	rm -rf .prahari/demo

test: setup ## every test, on three processes more than the machine has cores
	@$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

faults: setup ## what breaks, at length: PRAHARI_SEED=… takes one seed again, ARGS="-k hub" some of it
	@PRAHARI_FAULTS=long $(BIN)/python -m pytest tests/faults -v -s --durations=0 $(ARGS)

check: setup ## style, types, layers, dependencies, generated files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	@for member in $(MEMBERS); do echo "deptry $$member"; (cd $$member && ../$(BIN)/deptry src) || exit 1; done
	$(BIN)/python -m prahari_wire.schemas --check
	$(BIN)/python docs/reference.py --check

fix: setup ## what can be put right by itself: format, simple lint, generated files
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
	$(BIN)/python -m prahari_wire.schemas
	$(BIN)/python docs/reference.py

bench: setup ## the figures of docs/performance.md
	$(BIN)/python -m bench

bench-cameras: setup ## what a camera costs and sees, beside Debian's motion and others, on the same clips
	$(BIN)/python -m bench cameras

lock: $(STAMP)-uv ## pin every dependency again, with hashes and without any index address
	$(BIN)/python requirements/lock.py

clean: demo-clean ## forget the environment too
	rm -rf $(VENV)
