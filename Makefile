# Any Python that has the dev extra: make check PYTHON=.venv/bin/python
PYTHON ?= python3
BIN := $(if $(findstring /,$(PYTHON)),$(dir $(PYTHON)))

.PHONY: check test bench fix

check:  ## lint, format, types, layers, spelling
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(BIN)lint-imports
	$(PYTHON) -m codespell_lib

test:  ## the default tests; the 20 slowest are listed at the end
	$(PYTHON) -m pytest -n2

bench:  ## every bench/<station>.py, then docs/benchmarks.md
	$(PYTHON) -m bench.run

fix:  ## what the linters can mend by themselves
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
