# make demo    a report on a bundled model, offline        make test   everything a change must pass
# make check   format, lint, types, floors                 make docs   the pages under docs/, as HTML
# make bench   speed against the floor and other libraries make format rewrite the code in the house style

PYTHON ?= python3
VENV   ?= .venv
PEERS  ?= .venv-peers
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PYTEST_ARGS ?= -n 2

# One thread a process (tests run in two processes), no window, no hub.
QUIET := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 MPLBACKEND=Agg HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

.PHONY: demo test check format docs bench clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.installed
	$(BIN)/pellucid demo

test: check
	$(QUIET) $(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed-dev
	$(QUIET) $(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo docs/_build/html/index.html

bench: $(PEERS)/.installed
	$(PEERS)/bin/python -m benchmarks

clean:
	rm -rf docs/_build docs/reference .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A stamp stands for an environment; it is made again when what it was made from changes.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else "pellucid needs Python 3.11 or \
newer; this one is %d.%d. Say which to use: make PYTHON=python3.12 …" % v[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) -e '.[dev]'
	@touch $(VENV)/.installed $@

# Other libraries bring what they need with them, so they live apart.
$(PEERS)/.installed: pyproject.toml constraints.txt | $(VENV)/.made
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[peers]'
	@touch $@
