# Every target sets up the virtual environment by itself: `make ablation` works in a fresh clone. CONTRIBUTING.md lists
# the same commands without make, for Windows too.
#
# Without an NVIDIA GPU, torch without CUDA saves 4 GB on Linux (nvidia/ and triton/). Name the index of CPU builds that pytorch.org's
# "Get started" shows, at the first call: `PIP_EXTRA_INDEX_URL=ADDRESS make test`; or put such a build of torch and
# torchvision into .venv before: it is kept.
VENV ?= .venv
PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BOOK_STAMP := $(VENV)/.installed-book

.PHONY: help ablation smoke test test-fast test-browser test-all test-min test-newest lint lab app bench figures screenshots book soak coverage mutate audit clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 14

ablation: $(STAMP) ## the paper's six ablation rows on synthetic clips, then the table beside the paper's
	@$(BIN)/feelvos-lab ablate run experiments/components.yml $(if $(SEEDS),--seeds $(SEEDS)) $(if $(WORKERS),--workers $(WORKERS))

smoke: $(STAMP) ## the same six rows, too small to mean anything: does it all run?
	@$(BIN)/feelvos-lab ablate run experiments/smoke.yml

test: lint ## ruff and pytest, on two cores
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not browser"

test-fast: $(STAMP) ## the laws that take no time, as after every change; on two cores
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow and not browser" -n 2 --dist loadfile

coverage: $(STAMP) ## by branch, of model/, ablation/ and evaluation/: `make test` ends with 1 below 90 %
	@$(BIN)/python -m pytest -q -m "not browser" --cov --cov-report=term-missing:skip-covered --cov-fail-under=90

mutate: $(STAMP) ## apply one-line mutations, one after another: do the fast tests notice?
	@$(BIN)/python tests/robustness/mutate.py $(if $(JOBS),--jobs $(JOBS))

test-browser: $(BOOK_STAMP) ## the notebooks and the page as people use them; needs chromium
	@$(BIN)/python -m pytest -q -m browser

test-all: lint $(BOOK_STAMP) ## both, as CI runs them
	@$(BIN)/python -m pytest -q

test-min: ## `make test` at the lowest versions that pyproject.toml allows, in an environment beside the other
	@$(MAKE) --no-print-directory VENV=$(VENV)-min CONSTRAINTS=constraints-min.txt test

test-newest: ## `make test` at the newest versions there are today, in an environment made anew
	rm -rf $(VENV)-newest
	@$(MAKE) --no-print-directory VENV=$(VENV)-newest CONSTRAINTS= test

lint: $(STAMP) ## ruff, and the rules for notebooks
	@$(BIN)/ruff check -q .
	@$(BIN)/feelvos-lab lint

lab: $(STAMP) ## JupyterLab on a copy of the notebooks in work/
	@$(BIN)/feelvos-lab start

app: $(STAMP) ## the explorer and the painter as a page without code, on this computer alone
	@$(BIN)/feelvos-lab app $(if $(PORT),--port $(PORT))

bench: $(STAMP) ## speed and memory, each against a floor measured in the same run
	@failed=; for script in experiments/benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || failed="$$failed $$script"; done; \
	  [ -z "$$failed" ] || { echo "missed a target, or stopped:$$failed" >&2; exit 1; }

# Pictures go to an ignored folder; `make figures PICTURES=experiments/results` renews the README's own.
PICTURES ?= runs/pictures

figures: $(STAMP) ## draw the README's pictures again, from the first notebook, into runs/pictures
	@$(BIN)/python tests/support/readme_pictures.py $(PICTURES)

screenshots: $(STAMP) ## take the README's pictures of the explorer and the painter again, into runs/pictures; needs chromium
	@$(BIN)/python tests/support/screenshots.py $(PICTURES)/app

book: $(BOOK_STAMP) ## the lessons, executed, with reports and public names as a site, in build/book/site
	@$(BIN)/python docs/build.py

soak: $(STAMP) ## kill trainings, sweeps, segmentations and figures fifty times, and look whether anything was lost
	@$(BIN)/python tests/robustness/soak.py $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))

# An advisory that does not concern this project is named here, with the reason: --ignore-vuln ID. There is none now.
AUDIT_EXCEPT :=

audit: $(STAMP) ## look the tested versions up among known vulnerabilities; needs the network
	@$(PYTHON) -m venv $(VENV)/audit && $(VENV)/audit/bin/python -m pip install -q --disable-pip-version-check pip-audit
	@$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off -r constraints.txt $(AUDIT_EXCEPT)

clean: ## remove the environment, the book and caches; runs, results and work/ stay
	rm -rf $(VENV) $(VENV)-min $(VENV)-newest build .coverage* .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp an environment: a changed pyproject.toml or file of constraints installs again. pip takes 2.14.1+cpu from an
# index that has it for the tested torch 2.14.1. Of a build for the CPU that is there already the version is kept too.
$(STAMP): pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "feelvos_lab needs Python 3.11 or newer, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1); try make PYTHON=python3.12" >&2; exit 1; }
	@echo "installing into $(VENV) (a few minutes, once) …"
	@$(PYTHON) -m venv $(VENV)
	@kept=$$($(BIN)/python -m pip list --disable-pip-version-check --format=freeze | grep -E '^torch(vision)?==.*[+]cpu$$'); \
	  echo "$$kept" > $(VENV)/constraints.txt; [ -z "$$kept" ] || echo "kept:" $$kept; \
	  sed "$${kept:+/^torch==/d;/^torchvision==/d}" $(CONSTRAINTS) /dev/null >> $(VENV)/constraints.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c $(VENV)/constraints.txt -e ".[app,dev,video]"
	@touch $@

$(BOOK_STAMP): $(STAMP)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c $(VENV)/constraints.txt -e ".[book]"
	@touch $@
