# make setup | pull | demo | smoke | train-cpu | test | test-slow | test-pythons | test-cluster | test-remotes | test-image |
#   gpu-check | lint | image | publish
# PYTHON=python3.12 chooses an interpreter, VENV=.venv-3.12 another environment
PYTHON ?= python3
VENV ?= .venv
PYTHONS ?= python3.11 python3.12 python3.13
CORES ?= all
SEEDS ?= 0
CONFIG ?=
ENGINE ?= $(firstword $(foreach name,podman docker,$(shell command -v $(name))))
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

# Snakemake keeps a cache in the home folder, and ends with a traceback where it cannot.
ifneq ($(shell test -w "$$HOME" && echo yes),yes)
export XDG_CACHE_HOME ?= $(CURDIR)/.snakemake/cache
endif

.PHONY: setup pull demo smoke train-cpu test test-slow test-pythons test-cluster test-remotes test-image gpu-check lint \
  image publish

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "error: $(PYTHON) is not Python 3.11 to 3.13; name one with make PYTHON=python3.12 ..." >&2; exit 1; }
	@case "$(if $(filter /%,$(VENV)),,$(CURDIR)/)$(VENV)" in *" "*) \
	  echo "error: Snakemake cannot start a Python whose path has a space; name another one with make VENV=/... ..." >&2; \
	  exit 1;; esac
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "error: $(PYTHON) cannot make virtual environments; install it, e.g. apt install python3-venv" >&2; exit 1; }
	@echo "installing the pinned packages into $(VENV) (about 6 GB; minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

# The published results of the cpu preset, or of CONFIG. In a source archive, which has no .git, DVC needs a setting for that.
pull: $(INSTALLED)
	@test -e .git || $(BIN)/dvc config --local core.no_scm true
	@$(BIN)/hybridflow pull --configfile $(or $(CONFIG),presets/cpu.yaml)

# The cpu preset from its published weights: samples, measures, tables and draws it into results/demo, and compares
# that with the committed results/cpu. make demo SEEDS=all takes every seed; SEEDS=0,2 these.
demo: pull
	@$(SNAKEMAKE) --configfile presets/cpu.yaml --config experiment=demo $(if $(filter all,$(SEEDS)),,seeds=[$(SEEDS)])
	@cat results/demo/table1.md
	@echo "everything on one page: results/demo/report.html   figures: results/demo/figures/   logs: results/demo/logs/"
	@$(BIN)/hybridflow compare --common results/cpu results/demo

# The whole experiment from nothing at a toy size: trains every model for minutes.
smoke: $(INSTALLED)
	@$(SNAKEMAKE) --configfile presets/smoke.yaml
	@cat results/smoke/table1.md
	@echo "figures: results/smoke/figures/"

# Trains the cpu preset from scratch (hours), in a store of its own, and compares with the committed results.
train-cpu: $(INSTALLED)
	@HYBRIDFLOW_STORE=store/retrained $(SNAKEMAKE) --configfile presets/cpu.yaml --config experiment=cpu-retrained
	@cat results/cpu-retrained/table1.md
	@$(BIN)/hybridflow compare results/cpu results/cpu-retrained

test: $(INSTALLED)
	$(PYTEST) -m "not slow and not cluster and not remotes and not image"

test-slow: $(INSTALLED)
	$(PYTEST) -m slow

# The tests of every supported Python that is installed here, each in an environment of its own.
test-pythons:
	@for python in $(PYTHONS); do \
	  echo "== $$python"; $(MAKE) PYTHON=$$python VENV=.venv-$$python test || exit 1; done

# Needs root, to install (Debian) and start a Slurm on the loopback; without, the tests are skipped and say why.
test-cluster: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[slurm]"
	$(BIN)/python -m pytest -q -s -m cluster tests/cluster

# Against S3, SSH and HTTP servers on this machine; those of SSH are skipped where there is no sshd.
test-remotes: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable ".[dev,remotes,servers]"
	$(PYTEST) -m remotes tests/remotes

# Runs the image that `make image` builds: a training in it is stopped and goes on. Skipped where there is no image.
test-image: $(INSTALLED)
	ENGINE=$(ENGINE) $(BIN)/python -m pytest -q -m image tests/image

# On a machine with an NVIDIA GPU, which needs no network: $(VENV) if it is there, else PYTHON and its packages.
gpu-check:
	@$(or $(wildcard $(BIN)/python),$(PYTHON)) benchmarks/gpu_check.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/lint-imports --no-logo
	$(BIN)/snakemake --lint

# With podman, docker or ENGINE; BUILD holds further options of its build command, like --build-arg BASE=...
image:
	@test -n "$(ENGINE)" || { echo "error: there is neither podman nor docker here; install one of them" >&2; exit 1; }
	$(ENGINE) build --file Containerfile --tag hybridflow $(BUILD) \
	  --build-arg REVISION="$$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)" .

# make publish CONFIG=presets/smoke.yaml adds that configuration's new results to DVC and pushes them.
publish: $(INSTALLED)
	@$(BIN)/hybridflow publish $(if $(CONFIG),--configfile $(CONFIG))
