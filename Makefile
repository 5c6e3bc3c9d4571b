# make setup | demo | test | lint | publish        PYTHON=python3.12 chooses another interpreter
PYTHON ?= python3
CORES ?= all
CONFIG ?=
BIN := .venv/bin
INSTALLED := .venv/.installed
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)

.PHONY: setup demo test lint publish

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "error: $(PYTHON) is not Python 3.11 to 3.13; name one with make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "error: $(PYTHON) cannot make virtual environments; install it, e.g. apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

# The whole experiment at a size for two CPU cores: real CIFAR-10 in, Table 1 and figures out.
demo: $(INSTALLED)
	$(SNAKEMAKE) --configfile presets/smoke.yaml
	@cat results/smoke/table1.md
	@echo "figures: results/smoke/figures/"

test: $(INSTALLED)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

# make publish CONFIG=presets/smoke.yaml adds that configuration's new results to DVC and pushes them.
publish: $(INSTALLED)
	$(BIN)/hybridflow publish $(if $(CONFIG),--configfile $(CONFIG))
