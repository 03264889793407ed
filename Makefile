# make repro: set up and run the pipeline.  make test: set up and run lint, types and all tests.
PYTHON ?= python3.11
BIN := .venv/bin
# What the recipes run must find the environment's python first: DVC's stages call `python`.
export PATH := $(CURDIR)/$(BIN):$(PATH)

PIP := -m pip install --disable-pip-version-check --progress-bar off
# The lock into the environment $(1), and nothing that it does not name. First what builds the packages that come as source: pip
# would fetch that by itself, without hashes. Last torch: its builds differ, so it has no hash, and it pins its CUDA packages itself.
define install
	$(PYTHON) -m venv $(1)
	sed -n '/^pip==/,/[^\\]$$/p; /^setuptools==/,/[^\\]$$/p' requirements.lock >$(1)/build.lock
	$(1)/bin/python $(PIP) --require-hashes --no-deps -r $(1)/build.lock
	$(1)/bin/python $(PIP) --require-hashes --no-deps --no-build-isolation $(2)
	$(1)/bin/python $(PIP) "$$(grep '^torch==' requirements.txt)"
endef
# What only torch's CUDA builds need, which stays out of the lock: a machine without a GPU is spared it.
TORCH_CUDA := cuda-bindings cuda-toolkit nvidia-cudnn-cu13 nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvshmem-cu13 triton

.PHONY: repro test check faults setup lock audit base sample bench

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

faults: setup ## 200 kills at random over all stages, full disks, damage: what came of it (an hour; YOYAK_KILLS=… YOYAK_SEED=…)
	YOYAK_KILLS=$${YOYAK_KILLS:-200} pytest tests/test_faults.py tests/test_resume.py -s

setup: .venv/ready .dvc/plots/offline.html ## the environment with pinned packages

.venv/ready: requirements.txt requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed (or name yours: make repro PYTHON=...)"; exit 1; }
	$(call install,.venv,-r requirements.lock)
	python $(PIP) --no-deps --no-build-isolation -e .
	python -m pip check
	touch $@

.dvc/plots/offline.html: src/yoyak/reports/dvc_plots.py .venv/ready
	python -m yoyak plots-page $@

lock: ## resolve requirements.txt into requirements.lock again; pins that still fit stay
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && printf '%s\n' $(TORCH_CUDA) >"$$folder/cuda" && \
		$(PYTHON) -m venv "$$folder" && "$$folder/bin/python" $(PIP) --quiet uv==0.13.8 && \
		"$$folder/bin/uv" pip compile --quiet requirements.txt -o requirements.lock --generate-hashes --no-annotate \
		--python-version 3.11 --python-platform linux --no-emit-package torch --excludes "$$folder/cuda" \
		--custom-compile-command "make lock"

AUDIT := pip-audit --disable-pip --strict --progress-spinner off

audit: setup ## known vulnerabilities of every pinned package; asks pypi.org
	$(AUDIT) --require-hashes -r requirements.lock -r bench/requirements.txt
	grep '^torch==' requirements.txt | $(AUDIT) --no-deps -r /dev/stdin

base: setup ## pre-train the small checkpoints of models/base again (half an hour)
	python models/build_base.py

bench: .venv-bench/ready ## side by side with what else one would run, in an environment of its own (three quarters of an hour); a table in bench/results
	.venv-bench/bin/python bench/kobart.py --rows 1600
	.venv-bench/bin/python bench/kobart.py --shape --rows 160 --dev 32 $(if $(TOKENIZER),--tokenizer $(TOKENIZER))
	$(if $(DATA),.venv-bench/bin/python bench/kobart.py --shape --rows 480 --dev 32 --data $(DATA) $(if $(TOKENIZER),--tokenizer $(TOKENIZER)))
	.venv-bench/bin/python bench/qlora.py
	.venv-bench/bin/python bench/scoring.py
	.venv-bench/bin/python bench/data.py
	.venv-bench/bin/python bench/startup.py
	.venv-bench/bin/python bench/table.py

.venv-bench/ready: requirements.txt requirements.lock bench/requirements.txt
	$(call install,.venv-bench,-r requirements.lock -r bench/requirements.txt)
	.venv-bench/bin/python -m pip check
	touch $@

sample: setup ## draw the dialogues of data/sample again
	python data/sample/build.py
