# make repro: set up and run the pipeline.  make test: set up and run lint, types and all tests.
PYTHON ?= python3.11
BIN := .venv/bin
# What the recipes run must find the environment's python first: DVC's stages call `python`.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test check setup base sample

repro: setup ## preprocess, tokenize, train, predict, score; then the scores beside the baselines
	dvc repro
	python -m yoyak show

test: setup ## lint, types and all tests
	ruff check .
	ruff format --check .
	mypy
	pytest

check: setup ## lint, types and fast tests
	ruff check .
	ruff format --check .
	mypy
	pytest -m "not slow"

setup: .venv/ready .dvc/plots/offline.html ## the environment with pinned packages

.venv/ready: requirements.txt constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed (or name yours: make repro PYTHON=...)"; exit 1; }
	$(PYTHON) -m venv .venv
	python -m pip install --disable-pip-version-check --progress-bar off -r requirements.txt -c constraints.txt
	python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

.dvc/plots/offline.html: src/yoyak/plots.py .venv/ready
	python -m yoyak plots-page $@

base: setup ## pre-train the small checkpoints of models/base again (a quarter of an hour)
	python models/build_base.py

sample: setup ## draw the dialogues of data/sample again
	python data/sample/build.py
