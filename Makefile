# make repro: set up and run the pipeline.  make test: set up and run lint, types and tests.  make help: all commands.
# PYTHON=…       the Python of the environment, 3.11 or 3.12; without it tools/find-python.sh looks for one, 3.11 first
# TORCH_INDEX=…  the address of a package index that has other builds of torch, such as PyTorch's CPU index
PYTHON ?=
TORCH_INDEX ?=
# Another shell than /bin/sh makes GNU make 3.81, which macOS has, start each command with the PATH that is exported here.
SHELL := /bin/bash
BIN := .venv/bin
# The recipes must find the environment's python first: DVC's stages call `python`.
export PATH := $(CURDIR)/$(BIN):$(PATH)

PIP := -m pip install --disable-pip-version-check --progress-bar off
LOCKED := $(PIP) --require-hashes --no-deps --no-build-isolation
TORCH := $(shell grep '^torch==' requirements.txt)
TORCH_PIP := $(PIP) $(if $(TORCH_INDEX),--index-url '$(TORCH_INDEX)')

# A new environment $(1) with what the lock files $(2) pin, and nothing else.
# pip and setuptools come first, with hashes: they build the packages that come as source.
# torch comes last: it has several builds, so that it has no hash, and it brings its own CUDA packages. Without an NVIDIA GPU the
# CPU build is tried first, which is smaller by gigabytes. Where the index has no such build, pip chooses one.
define install
	python=$$(tools/find-python.sh '$(PYTHON)') && "$$python" -m venv --clear $(1)
	sed -n '/^pip==/,/[^\\]$$/p; /^setuptools==/,/[^\\]$$/p' requirements.lock >$(1)/build.lock
	$(1)/bin/python $(PIP) --require-hashes --no-deps -r $(1)/build.lock
	$(1)/bin/python $(LOCKED) $(2)
	nvidia-smi -L >/dev/null 2>&1 || $(1)/bin/python $(TORCH_PIP) '$(TORCH)+cpu' 2>/dev/null || echo "No CPU build of torch found; pip chooses the build."
	$(1)/bin/python $(TORCH_PIP) '$(TORCH)'
endef
# What only torch's CUDA builds need. It stays out of the lock, so that a machine without a GPU does not download it.
TORCH_CUDA := cuda-bindings cuda-toolkit nvidia-cudnn-cu13 nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvshmem-cu13 triton

.PHONY: repro app test check test-slow faults setup setup-dev docs lock audit base sample bench gpu ablation help FORCE

repro: setup ## preprocess, augment, tokenize, train, predict, score; then the scores beside the baselines
	dvc repro
	python -m yoyak show

# A file is the unit of work, so that its fixtures are built once. pytest 9.2 ignores the groups of xdist 3.8 (`loadgroup`).
# xdist would take the files with many tests first; tests/conftest.py has those that take long at the front.
PYTEST := pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: setup-dev ## lint, types and tests, but the very slow ones (ten minutes on two cores)
	ruff check .
	ruff format --check .
	mypy
	$(PYTEST) -m "not very_slow"

check: setup-dev ## lint, types and fast tests (two minutes)
	ruff check .
	ruff format --check .
	mypy
	$(PYTEST) -m "not slow and not very_slow"

test-slow: setup-dev .venv/ready-slow ## the very slow tests, which make test leaves out
	$(PYTEST) -rs -m very_slow # -rs: what was skipped, and why

faults: setup-dev ## 200 kills at random over all stages, full disks, damage; prints the result (an hour; YOYAK_KILLS=… YOYAK_SEED=…)
	YOYAK_KILLS=$${YOYAK_KILLS:-200} pytest tests/pipeline/test_faults.py tests/pipeline/test_resume.py -s

setup: .venv/ready .dvc/plots/offline.html ## the environment that runs the pipeline, with pinned packages

setup-dev: setup .venv/ready-dev ## setup, and the packages of the tests and the development tools

app: setup .venv/ready-serve ## all experiments in a browser, and a page to try models (PORT=8100)
	python -m yoyak app --port $(or $(PORT),8100)

docs: .venv/ready-docs ## the documents as a site that needs no network, in site/; generated pages are written first
	python docs/generate_reference.py
	python docs/make_picture.py
	mkdocs build --strict

# A PYTHON that the user names replaces an environment of another version.
ifneq ($(PYTHON),)
ifneq ($(shell python=$$(tools/find-python.sh '$(PYTHON)' 2>/dev/null) && $$python -V),$(shell .venv/bin/python -V 2>/dev/null))
.venv/packages: FORCE
endif
endif

.venv/packages: requirements.txt requirements.lock
	$(call install,.venv,-r requirements.lock)
	touch $@

.venv/ready: .venv/packages pyproject.toml
	python $(PIP) --no-deps --no-build-isolation -e .
	python -m pip check
	touch $@

.venv/ready-%: requirements-%.txt requirements-%.lock .venv/ready
	python $(LOCKED) -r requirements-$*.lock
	python -m pip check
	touch $@

.dvc/plots/offline.html: src/yoyak/reports/dvc_plots.py .venv/ready
	python -m yoyak plots-page $@

COMPILE = "$$folder/bin/uv" pip compile --quiet --generate-hashes --no-annotate --universal --python-version 3.11 \
	--excludes "$$folder/cuda" --custom-compile-command "make lock"

lock: ## resolve each requirements file into its lock again, for all supported Pythons and systems; pins that still fit stay
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && printf '%s\n' $(TORCH_CUDA) >"$$folder/cuda" && \
		python=$$(tools/find-python.sh '$(PYTHON)') && "$$python" -m venv "$$folder" && \
		"$$folder/bin/python" $(PIP) --quiet uv==0.13.8 && \
		$(COMPILE) requirements.txt -o requirements.lock --no-emit-package torch && \
		$(COMPILE) requirements-dev.txt -o requirements-dev.lock -c requirements.lock && \
		$(COMPILE) requirements-docs.txt -o requirements-docs.lock -c requirements.lock -c requirements-dev.lock && \
		$(COMPILE) requirements-serve.txt -o requirements-serve.lock -c requirements.lock -c requirements-dev.lock && \
		$(COMPILE) requirements-slow.txt -o requirements-slow.lock -c requirements.lock -c requirements-dev.lock

AUDIT := pip-audit --disable-pip --strict --progress-spinner off

audit: setup-dev ## known vulnerabilities of every pinned package; asks pypi.org
	$(AUDIT) --require-hashes -r requirements.lock -r requirements-dev.lock -r requirements-docs.lock -r requirements-serve.lock -r requirements-slow.lock -r bench/requirements.txt
	echo '$(TORCH)' | $(AUDIT) --no-deps -r /dev/stdin

base: setup ## pre-train the small checkpoints of models/base again (half an hour)
	python models/build_base.py

bench: .venv-bench/ready ## side by side with what else one would run, in an environment of its own (three quarters of an hour); a table in bench/results
	.venv-bench/bin/python -m bench.kobart --rows 1600
	.venv-bench/bin/python -m bench.kobart --shape --rows 160 --dev 32 $(if $(TOKENIZER),--tokenizer $(TOKENIZER))
	.venv-bench/bin/python -m bench.kobart --recommended --dev 300
	.venv-bench/bin/python -m bench.kobart --shape --recommended --dev 32 $(if $(TOKENIZER),--tokenizer $(TOKENIZER))
	$(if $(DATA),.venv-bench/bin/python -m bench.kobart --shape --rows 480 --dev 32 --data $(DATA) $(if $(TOKENIZER),--tokenizer $(TOKENIZER)))
	.venv-bench/bin/python -m bench.qlora
	.venv-bench/bin/python -m bench.scoring
	.venv-bench/bin/python -m bench.data
	.venv-bench/bin/python -m bench.startup
	.venv-bench/bin/python -m bench.table

gpu: ## all that a GPU can show within ten minutes, with the packages of this python (docs/how-to/use-a-gpu.md); bench/results/gpu.json
	python -m bench.gpu

ablation: setup ## each technique alone against the default, three seeds (hours; DATA=folder for other data than the sample)
	python -m bench.ablation $(if $(DATA),--data $(DATA))

.venv-bench/ready: requirements.txt requirements.lock bench/requirements.txt
	$(call install,.venv-bench,-r requirements.lock -r bench/requirements.txt)
	.venv-bench/bin/python -m pip check
	touch $@

sample: setup ## draw the dialogues of data/sample again
	python data/sample/build.py

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-11s %s\n", $$1, $$2}' Makefile
