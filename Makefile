# Everything from a bare machine: Python 3.11 or 3.12 and make.
PYTHON ?= python3.11
BIN := .venv/bin
# Two processes: one for all tests that share the Ray cluster, so that there is one, and one for the others.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadgroup

.PHONY: audit bench-gpu clean demo install lint lock test test-all

install: .venv/.ready

demo: .venv/.ready
	$(BIN)/motif demo --out demo

test: .venv/.ready lint
	$(PYTEST) -m "not slow and not gpu"

test-all: .venv/.ready lint
	$(PYTEST) -m "not gpu"

# All figures of this machine's GPU, kept in benchmarks/results.
bench-gpu: .venv/.ready
	$(BIN)/python -m benchmarks.gpu --save

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# uv resolves and installs in seconds what pip takes minutes for; pip itself only brings uv. Libraries are compiled here,
# once: where Python may not keep what it compiles, each process of a run would compile the thousands of files it imports.
.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable ".[test,dev]"
	touch $@

lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate --no-header \
	  pyproject.toml --output-file constraints.txt

# Known vulnerabilities of the locked versions. Needs PyPI itself: a mirror without this data fails it.
audit: .venv/.ready
	$(BIN)/uv tool run pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

clean:
	rm -rf .venv demo dist
