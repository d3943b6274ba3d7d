# Two commands set everything up: `make train` and `make test`. Python 3.11 or newer, and make.
# On a machine with an accelerator: `make train EXTRAS=all,cuda13` (or cuda12, tpu). JAX then runs on it by itself.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
EXTRAS ?= all
INSTALLED := $(VENV)/.installed-$(EXTRAS)
# Compiles for chips that are not there, with compilers that nothing else needs.
CHIPS ?= .venv-accelerators
PIP := python -m pip install --quiet --disable-pip-version-check

.PHONY: train test lint format calibrate bench accelerators integrations adapters docs clean

train: $(INSTALLED)
	$(BIN)/aljax train $(ARGS)

test: $(VENV)/.tested
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: $(VENV)/.linted
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.linted
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

calibrate: $(INSTALLED)
	$(BIN)/python calibration/paper.py

bench: $(VENV)/.benched
	$(BIN)/python benchmarks/bench.py --json benchmarks/results/bench.json --page docs/reference/benchmarks.md \
	  --figures docs/figures $(ARGS)

accelerators: $(CHIPS)/.installed
	$(CHIPS)/bin/python benchmarks/accelerators.py --json benchmarks/results/accelerators.json \
	  --page docs/reference/accelerators.md $(ARGS)

# Each framework's newest and oldest supported release, in environments of their own: make integrations ARGS=langchain
integrations: $(VENV)/bin/python
	$(BIN)/python tests/everywhere.py integrations $(ARGS)

# The same for libraries of trainers: make adapters ARGS="sb3 --python python3.11 python3.12"
adapters: $(VENV)/bin/python
	$(BIN)/python tests/everywhere.py adapters $(ARGS)

docs: $(VENV)/.documented
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -d build/doctrees docs build/docs $(ARGS)

clean:
	rm -rf $(VENV) $(CHIPS) .venv-everywhere-* .pytest_cache .ruff_cache .hypothesis build/docs build/doctrees

$(VENV)/bin/python $(CHIPS)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "aljax needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(@D)/..

$(INSTALLED): $(VENV)/bin/python pyproject.toml
	$(BIN)/$(PIP) -e '.[$(EXTRAS)]'
	@touch $@

$(VENV)/.tested: $(INSTALLED)
	$(BIN)/$(PIP) -e '.[all,test]'
	@touch $@

$(VENV)/.benched: $(INSTALLED)
	$(BIN)/$(PIP) -e '.[all,bench]'
	@touch $@

$(VENV)/.documented: $(INSTALLED)
	$(BIN)/$(PIP) -e '.[all,docs]'
	@touch $@

$(VENV)/.linted: $(VENV)/.tested
	$(BIN)/$(PIP) -e '.[all,test,lint]'
	@touch $@

# The plugins go with the version of JAX; of CUDA only what compiles is needed.
$(CHIPS)/.installed: $(CHIPS)/bin/python pyproject.toml
	$(CHIPS)/bin/$(PIP) -e '.[all,tpu]'
	jax=$$($(CHIPS)/bin/python -c 'import jax; print(jax.__version__)') && \
	  $(CHIPS)/bin/$(PIP) --no-deps jax-cuda13-pjrt==$$jax jax-cuda13-plugin==$$jax
	$(CHIPS)/bin/$(PIP) nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-cupti nvidia-cuda-runtime
	@touch $@
