# Everything happens in .venv, which the first target that needs it makes.
# Another interpreter than the first fitting one: make demo PYTHON=/path/to/python3.12
PYTHON ?=
CANDIDATES = python3.11 python3.12 python3.13 python3 python

# Relative, so that a folder with a space in its name serves too: pip splits the variable at spaces.
export PIP_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

BIN := .venv/bin
# Errors only: what pip has to remark about a machine's own settings is not about this project.
PIP := $(BIN)/python -m pip install -qq
BASE := .venv/.installed
TEST := .venv/.installed-test
DEV := .venv/.installed-dev
PEERS := .venv/.installed-peers

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint format types bench clinic clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(BASE) ## the main job on an embedded case: train, get stuck, diagnose, race the cures, write report.html
	@$(BIN)/thalweg demo

test: $(TEST) $(PEERS) ## run the tests on two cores (ARGS="tests/measure -x" for fewer)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

lint: $(DEV) ## check style and formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

format: $(DEV) ## mend style and formatting
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

types: $(DEV) ## check the types
	@$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(BASE) $(PEERS) ## race other libraries on this machine
	@set -e; for file in $(filter-out benchmarks/clinic_%,$(wildcard benchmarks/[a-z]*.py)); do \
	  echo "$$file"; $(BIN)/python "$$file"; \
	done

clinic: $(BASE) ## diagnose every case of the clinic over ten seeds, and 200 drawn runs; write docs/clinic.md
	@$(BIN)/python -m benchmarks.clinic_confusion $(ARGS)
	@$(BIN)/python -m benchmarks.clinic_generated

clean: ## remove caches, builds and report.html; .venv stays
	@rm -rf build dist report.html .pytest_cache .ruff_cache .hypothesis *.egg-info
	@find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv as well
	@rm -rf .venv

# The first candidate that runs, is 3.11 to 3.13 and brings pip: a name on PATH may be a shim that fails.
define FIND_PYTHON
for name in $(or $(PYTHON),$(CANDIDATES)); do \
  "$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 || continue; \
  fitting=$$name; \
  "$$name" -c 'import ensurepip, venv' >/dev/null 2>&1 && { python=$$name; break; }; \
done
endef

$(BASE): pyproject.toml constraints.txt
	@set -e; if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  python= fitting=; $(FIND_PYTHON); \
	  if [ -z "$$fitting" ]; then \
	    echo "thalweg needs Python 3.11, 3.12 or 3.13, and none of '$(or $(PYTHON),$(CANDIDATES))' is one that runs." >&2; exit 1; \
	  elif [ -z "$$python" ]; then \
	    echo "$$fitting cannot make a virtual environment because its venv module lacks pip: install it" \
	      "(Debian and Ubuntu: apt install python3-venv), or name another Python: make PYTHON=/path/to/python3." >&2; exit 1; \
	  fi; \
	  "$$python" -m venv --clear .venv; \
	fi
	@echo "Installing thalweg into .venv ($$($(BIN)/python --version); a minute or two, once) ..."
	@$(PIP) --editable .
	@touch $@

$(TEST): $(BASE)
	@echo "Installing what the tests need ..."
	@$(PIP) --editable '.[test]'
	@touch $@

$(DEV): $(BASE)
	@echo "Installing the linters ..."
	@$(PIP) --editable '.[dev]'
	@touch $@

# curvlinops without its dependencies: its torchvision cannot be imported beside a CPU torch.
$(PEERS): $(BASE)
	@echo "Installing other Hessian libraries to compare with ..."
	@$(PIP) --editable '.[peers]'
	@$(PIP) --no-deps curvlinops-for-pytorch
	@touch $@
