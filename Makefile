# What there is to do: `make` or `make help`.
#   PYTHON=python3.12      another interpreter than python3 (3.11 or newer)
#   PROFILE=gpu            cpu, cpu-tf, gpu or gpu-pascal: which of locks/ is installed; what .venv has, or cpu
#   PYTEST_ARGS="-k table" passed on to pytest
#   DOCKER_FLAGS="..."     passed on to docker build and run, such as --network host behind a proxy on this machine

PYTHON ?= python3
VENV = .venv
PROFILE := $(or $(filter-out dev tools,$(basename $(notdir $(wildcard $(VENV)/locks/*.txt)))),cpu)

.DEFAULT_GOAL = help
.PHONY: help setup demo test test-tf test-container bench lint format docs locks image wheels clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

run = $(VENV)/bin/python -m
pip = $(run) pip --quiet --quiet --disable-pip-version-check --no-input install --no-deps
install = $(pip) --require-hashes --only-binary :all: -r

# A copy of each lock that was installed stands in the venv: what is there is known, and where only the time
# of a lock changed (as git does), nothing is installed again.
base = $(VENV)/locks/$(PROFILE).txt
package = $(VENV)/locks/pyproject.toml
dev = $(VENV)/locks/dev.txt
tools = $(VENV)/locks/tools.txt

help: ## list what there is to do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: $(package) ## install face-organizer and what it needs into .venv, from locks/cpu.txt (or PROFILE=...)

demo: $(package) ## sort a few faces that come with the packages: no pictures, models or network needed
	@$(run) face_organizer demo

# Four at a time even on two cores: many tests wait for processes of their own.
test: $(package) $(dev) ## run the tests (PYTEST_ARGS="-k table" for some of them)
	$(run) pytest -n 4 --dist worksteal $(PYTEST_ARGS)

# TensorFlow stays out of .venv: 1.4 GB, and ten seconds whenever it is loaded.
test-tf: ## run the tests that need TensorFlow and DeepFace, in .venv-tf
	@$(MAKE) --no-print-directory test VENV=.venv-tf PROFILE=cpu-tf PYTEST_ARGS="-m tensorflow -n 0 $(PYTEST_ARGS)"

test-container: $(package) $(dev) ## build the cpu image and run the original flows in it; needs a Docker engine
	DOCKER_FLAGS="$(DOCKER_FLAGS)" $(run) pytest -m container tests/container $(PYTEST_ARGS)

bench: $(package) $(dev) ## measure everything in benchmarks/README.md, an hour or so; needs the photos of ../shared
	@: > $(VENV)/results.jsonl
	@set -e; for name in speed finding faceswap resume separation gender startup kill kill_apply kill_library library placing search; do \
	  echo "benchmarks/$$name.py" >&2; $(VENV)/bin/python benchmarks/$$name.py >> $(VENV)/results.jsonl; done
	mv $(VENV)/results.jsonl benchmarks/results.jsonl
	$(VENV)/bin/python benchmarks/plot.py

lint: $(package) $(dev) ## check style, formatting and types
	$(run) ruff check .
	$(run) ruff format --check .
	$(run) mypy

format: $(dev) ## put the code into its format and mend what can be mended
	$(run) ruff check --fix .
	$(run) ruff format .

docs: $(package) ## write docs/cli.md from the command line itself
	@mkdir -p docs
	$(run) face_organizer.cli.reference > $(VENV)/cli.md
	mv $(VENV)/cli.md docs/cli.md

locks: $(tools) ## make constraints.txt and locks/ from pyproject.toml (UPGRADE=1: newest versions)
	$(VENV)/bin/python locks/generate.py $(if $(UPGRADE),--upgrade)

image: ## build the container image of PROFILE (gpu, gpu-pascal, cpu or cpu-tf) as face-organizer:PROFILE
	docker build $(DOCKER_FLAGS) --build-arg PROFILE=$(PROFILE) --build-arg UID=$$(id -u | sed 's/^0$$/1000/') \
	  --build-arg GID=$$(id -g | sed 's/^0$$/1000/') \
	  --build-arg REVISION=$$(git rev-parse --short HEAD 2>/dev/null || echo unknown) -t face-organizer:$(PROFILE) .

wheels: ## fill packages/ with all that `make image` of PROFILE needs, for a build without a network
	docker run --rm $(DOCKER_FLAGS) -v "$(CURDIR)/packages:/packages" -v "$(CURDIR)/locks:/locks:ro" \
	  -v "$(CURDIR)/scripts:/scripts:ro" debian:bookworm-slim /scripts/fetch-packages.sh $(PROFILE) $$(id -u):$$(id -g)

clean: ## remove .venv and everything else that was made here
	rm -rf .venv .venv-tf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A changed lock or another profile means a new venv: packages that left a lock would otherwise stay, and
# two profiles in one venv overwrite each other's ONNX Runtime.
$(base): locks/$(PROFILE).txt
	@if cmp -s $< $@ && $(VENV)/bin/python -c '' 2>/dev/null; then touch $@; else \
	  $(check) && \
	  echo "Installing locks/$(PROFILE).txt into $(VENV) ($(size)) ..." && \
	  rm -rf $(VENV) && "$(PYTHON)" -m venv $(VENV) && \
	  $(install) $< && \
	  mkdir -p $(VENV)/locks && cp $< $@; \
	fi

$(package): pyproject.toml $(base)
	@$(pip) --no-build-isolation --no-index --editable .
	@cp $< $@

$(dev): locks/dev.txt $(base)
	@cmp -s $< $@ || { echo "Installing locks/dev.txt into $(VENV) (0.2 GB) ..." && $(install) $<; }
	@cp $< $@

$(tools): locks/tools.txt $(base)
	@cmp -s $< $@ || $(install) $<
	@cp $< $@

size = $(or $(size-$(PROFILE)),unknown size)
size-cpu = 0.7 GB, about a minute
size-cpu-tf = 2.2 GB, some minutes
size-gpu = 7.4 GB, many minutes
size-gpu-pascal = 7.1 GB, many minutes

define check
{ command -v "$(PYTHON)" >/dev/null || { echo >&2 \
    "$(PYTHON) is not here. Mend: sudo apt-get install python3 python3-venv, or name one: make PYTHON=/path/to/python3"; exit 1; }; } && \
  { "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo >&2 \
    "$$("$(PYTHON)" --version) is too old. Mend: make PYTHON=python3.12, with any Python from 3.11 on"; exit 1; }; } && \
  { "$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo >&2 \
    "$(PYTHON) cannot make virtual environments. Mend: sudo apt-get install python3-venv"; exit 1; }; }
endef
