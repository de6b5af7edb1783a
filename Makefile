# make demo    install vlm into .venv and ask the embedded model about a picture
# make test    everything that CI runs: linters, types, import contracts, tests
# make check   the same without the tests
# make format  let ruff mend what it can
# make bench   measure vlm beside transformers and llama.cpp, and write bench/RESULTS.md; on a machine that rests
# make bench-peers  install llama.cpp for it (built from source: some minutes)
# make clean   remove .venv and every cache

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The torch that the tests were run with. Another build: make demo TORCH="torch==2.13.0 --index-url URL"
TORCH ?= torch==2.13.0

# Idle OpenMP workers that spin make two busy processes on a small machine many times slower, not twice.
export OMP_WAIT_POLICY := passive

# A .venv whose interpreter is gone or too old is made anew; a healthy one is kept.
HEALTHY := $(shell $(BIN)/python -c 'import sys, pip; print(sys.version_info >= (3, 11))' 2>/dev/null)
ifneq ($(HEALTHY),True)
$(shell rm -f $(BIN)/.stamp-*)
endif

DEMO := $(BIN)/.stamp-demo
DEV := $(BIN)/.stamp-dev

.PHONY: demo test check format bench bench-peers clean
.DELETE_ON_ERROR:

demo: $(DEMO)
	$(BIN)/vlm ask examples/shapes.png "What colour is the star?"

# A process a core, of one thread each: they share nothing, and are nearly as fast as the cores are many.
test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

check: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV)
	$(BIN)/python -m bench

bench-peers: $(DEV)
	$(BIN)/python -m pip install llama-cpp-python

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(BIN)/.stamp-venv:
	test "$(HEALTHY)" = True || $(PYTHON) -m venv --clear $(VENV)
	touch $@

$(BIN)/.stamp-torch: $(BIN)/.stamp-venv
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -c 'from importlib.metadata import version; print("torch==" + version("torch"))' > $@

# The torch that is there constrains the rest: without that, pip replaces it to get a newer torchvision.
$(DEMO): pyproject.toml $(BIN)/.stamp-torch
	$(BIN)/python -m pip install --quiet --constraint $(BIN)/.stamp-torch --editable .
	touch $@

$(DEV): pyproject.toml $(BIN)/.stamp-torch
	$(BIN)/python -m pip install --quiet --constraint $(BIN)/.stamp-torch --editable '.[dev]'
	touch $@ $(DEMO)
