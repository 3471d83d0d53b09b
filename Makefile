# Two commands do everything on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
PRESET ?= small
ARGS ?=
# Tests share the cores: each worker takes neighbouring tests, then some of the others'. One more than there are cores, as
# tests of the window wait a good part of their time. ARGS="-n 0" runs one process.
WORKERS ?= -n $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)') --maxprocesses 8 --dist worksteal
BIN := .venv/bin

.PHONY: run test verify faults mutants audit bench docs lint format clean

run: .venv/.run          ## set up, then open the explorer (without a display: the same preset headless, with figures)
	$(BIN)/python -m fp_gui $(PRESET) $(ARGS)

test: export OMP_WAIT_POLICY = passive
test: export PYTHONDONTWRITEBYTECODE =  # what pytest makes of each file is kept: half of what collecting takes
test: .venv/.dev         ## set up, then run all tests
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

verify: .venv/.verify    ## cross-check our attacks against other libraries (extra `verify`)
	$(BIN)/python -m pytest -m verify $(ARGS)

faults: .venv/.dev       ## hundreds of random faults of every kind: kills, full disks, damaged runs … (about 20 minutes; ARGS="--help")
	FP_EVERY_SCREEN=1 $(BIN)/python -m pytest -q tests/faults/test_every_screen.py
	$(BIN)/python -m tests.faults $(ARGS)

mutants: .venv/.dev      ## small faults put into the code one at a time: which of them the tests catch
	$(BIN)/python -m tests.mutants $(ARGS)

audit: .venv/.dev        ## pictures of the views against the stored ones, side by side in audit/ (ARGS="--accept" stores the present ones)
	$(BIN)/python -m tests.gui.audit $(ARGS)

bench: .venv/.dev        ## measure speed and memory, as ratios within one run (about 20 minutes; ARGS="--help")
	$(BIN)/python -m tests.bench $(ARGS)

docs: .venv/.docs        ## build the documentation into docs/_build; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build

lint: .venv/.dev         ## style, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build docs/_build docs/_generated *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Stamps: each names what is installed; a change of pyproject.toml installs again.
.venv/bin/pip:
	PYTHON="$(PYTHON)" .ci/system-packages
	$(PYTHON) -m venv .venv

.venv/.run: pyproject.toml .ci/system-packages | .venv/bin/pip
	PYTHON="$(PYTHON)" .ci/system-packages
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	touch $@

.venv/.dev: pyproject.toml .ci/system-packages | .venv/bin/pip
	PYTHON="$(PYTHON)" .ci/system-packages window
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test,lint,data,cluster]'
	touch $@ .venv/.run

.venv/.docs: .venv/.dev
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[docs]'
	touch $@

.venv/.verify: .venv/.dev
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[verify]'
	touch $@
