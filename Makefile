PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test test-fast faults faults-torchvision faults-detectron2 lint format docs docs-serve detectron2 clean

demo: $(VENV)/installed
	$(BIN)/mvit-det demo --out runs/demo --overwrite

test: $(VENV)/installed
	$(BIN)/python -m pytest

test-fast: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow"

# Takes a working day; tests/README.md describes the parts. faults-torchvision does not need Detectron2.
FAULTS ?= build/faults
faults: faults-torchvision faults-detectron2

faults-torchvision: $(VENV)/installed
	FAULTS=long $(BIN)/python -m pytest tests/faults -m "not detectron2"
	$(BIN)/python -m tests.faults.kill_and_resume --folder $(FAULTS)/kills --kills 100
	$(BIN)/python -m tests.faults.interrupt_runs --folder $(FAULTS)/signals --times 10
	$(BIN)/python -m tests.faults.kill_processes --folder $(FAULTS)/processes
	$(BIN)/python -m tests.faults.soak --folder $(FAULTS)/soak --minutes 60

faults-detectron2: $(VENV)/installed
	FAULTS=long $(BIN)/python -m pytest tests/faults -m detectron2
	$(BIN)/python -m tests.faults.kill_and_resume --folder $(FAULTS)/kills_detectron2 --kills 100 --detectron2
	$(BIN)/python -m tests.faults.interrupt_runs --folder $(FAULTS)/signals_detectron2 --times 10 --detectron2
	$(BIN)/python -m tests.faults.kill_processes --folder $(FAULTS)/processes_detectron2 --detectron2
	$(BIN)/python -m tests.faults.soak --folder $(FAULTS)/soak_detectron2 --minutes 60 --detectron2

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed
	$(BIN)/mkdocs build --strict

docs-serve: $(VENV)/installed
	$(BIN)/mkdocs serve --strict

# Detectron2 at the commit that pyproject.toml pins. DETECTRON2=/path/to/checkout installs that one instead.
# Its build imports torch and takes minutes; MAX_JOBS limits the number of compilers.
detectron2: $(VENV)/installed
	$(BIN)/pip install --editable '.[detectron2]'
	$(BIN)/pip install --no-build-isolation $(if $(DETECTRON2),'$(DETECTRON2)','setuptools<81' --group detectron2)
	$(BIN)/mvit-det doctor

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --upgrade pip
	$(BIN)/pip install --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build runs site
