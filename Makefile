# Each target sets itself up in .venv; all that a machine needs is Python 3.11 or newer, with pip.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
WORKERS ?= 2
# Each worker's libraries would take all cores otherwise.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)
READY := .venv/.ready

.PHONY: help demo test test-slow lint types wheel constraints clean

help:
	@echo "make demo         draw, train, export, analyse: the whole way in two minutes, into demo/"
	@echo "make test         all tests but the slow ones"
	@echo "make test-slow    the complete comparisons"
	@echo "make lint         style, formatting, and the floors of the parts"
	@echo "make types        mypy, strict"
	@echo "make wheel        build the wheel; try it in a clean environment without torch"

demo: $(READY)
	$(BIN)/dlc-deploy demo demo --overwrite

test: $(READY)
	$(PYTEST) -m "not slow"

test-slow: $(READY)
	$(PYTEST) -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

wheel: $(READY)
	.ci/try-wheel

constraints: $(READY)
	$(BIN)/pip install --quiet --upgrade --upgrade-strategy eager -e '.[cpu,train,export,modelzoo,trt-rtx,loggers]' --group dev
	{ sed '/^#/!d' constraints.txt; $(BIN)/pip freeze --exclude-editable --all | sed '/^setuptools=/d'; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf .venv .venv-wheel build dist demo *.egg-info

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt pip
	$(BIN)/pip install --quiet --constraint constraints.txt -e '.[cpu,train,export,modelzoo,trt-rtx,loggers]' --group dev
	touch $(READY)
