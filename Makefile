# make repro: set up and run the pipeline.  make test: set up and run lint, types and all tests.
PYTHON ?= python3.11
BIN := .venv/bin
# What the recipes run must find the environment's python first: DVC's stages call `python`.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test check setup base sample bench

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

base: setup ## pre-train the small checkpoints of models/base again (half an hour)
	python models/build_base.py

bench: .venv-bench/ready ## side by side with other trainers, in an environment of its own; results in bench/results
	.venv-bench/bin/python bench/qlora.py

.venv-bench/ready: requirements.txt constraints.txt bench/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt \
		-r requirements.txt -r bench/requirements.txt
	touch $@

sample: setup ## draw the dialogues of data/sample again
	python data/sample/build.py
