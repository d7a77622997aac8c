# Each target does all of its own set-up: python3 with venv, git and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS := docs/_build
SOURCES := skinfluence tests examples benchmarks docs
TEST_JOBS ?= 2
PYTEST_ARGS ?=
LOWEST_TESTS := $(addprefix tests/,test_cache.py test_keys.py trajectory influence commands inspection \
	estimators/test_persistence.py estimators/test_old_files.py estimators/test_recording.py)
PYTEST := $(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal

# One thread for each process: more fight over the cores, and gain small networks nothing.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all test-lowest lint types check docs bench faults dist format clean

help:
	@echo "make demo | test | test-all | check | docs | bench | faults | dist | format | clean"

# Made anew when a requirement changes, so that nothing left over can hide a missing one.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --progress-bar off -c constraints.txt -e ".[test,docs,plot]"
	touch $@

demo: $(STAMP)
	$(BIN)/python examples/demo.py

test: $(STAMP)
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-all: $(STAMP)
	$(PYTEST) $(PYTEST_ARGS)

# In an environment of its own: the rooms that use most of other packages.
test-lowest:
	$(PYTHON) -m venv --clear $(VENV)/lowest
	$(VENV)/lowest/bin/python -m pip install --progress-bar off -r lowest.txt
	$(VENV)/lowest/bin/python -m pip install --progress-bar off --no-deps -e .
	$(VENV)/lowest/bin/python -m pytest -n $(TEST_JOBS) $(LOWEST_TESTS) $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check $(wildcard $(SOURCES))
	$(BIN)/ruff format --check $(wildcard $(SOURCES))

types: $(STAMP)
	$(BIN)/mypy

# All at once: types and pages are of one process each, and would leave a core idle.
check: lint
	$(MAKE) -j 3 types docs test-all

# Every page is read and every example run again: a warning is given only then, so a second
# build would pass over it. The code of the pages is run by pytest.
docs: $(STAMP)
	rm -rf docs/generated docs/auto_examples
	$(BIN)/sphinx-build -W --keep-going -n -q -j $(TEST_JOBS) -E -d $(DOCS)/doctrees docs $(DOCS)/html

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

faults: $(STAMP)
	$(BIN)/python benchmarks/faults.py

# A wheel and an sdist; each must install and import in an environment of its own.
dist: $(STAMP)
	rm -rf dist
	$(BIN)/python -m pip install --progress-bar off -c constraints.txt build
	$(BIN)/python -m build --outdir dist .
	for file in dist/*.whl dist/*.tar.gz; do \
		$(PYTHON) -m venv --clear $(VENV)/dist && \
		$(VENV)/dist/bin/python -m pip install --progress-bar off -c constraints.txt $$file && \
		(cd $(VENV)/dist && bin/python -c "import skinfluence; print(skinfluence.__file__)") \
		|| exit 1; \
	done

format: $(STAMP)
	$(BIN)/ruff check --fix-only $(wildcard $(SOURCES))
	$(BIN)/ruff format $(wildcard $(SOURCES))

clean:
	rm -rf $(VENV) $(DOCS) docs/auto_examples docs/generated build dist *.egg-info \
		.coverage* htmlcov .mypy_cache .pytest_cache .ruff_cache
	find $(wildcard $(SOURCES)) -name __pycache__ -type d -exec rm -rf {} +
