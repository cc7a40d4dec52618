# `make help` lists the targets. PYTHON is the interpreter that .venv is made from.
PYTHON ?= python3
PY := .venv/bin/python

# Set-up is repeated only when one of these files, or the place of the checkout, changes.
SET_UP_FILES := $(wildcard requirements/*.txt) setup.py tools/setup_environment.py
KEY := $(shell (echo '$(CURDIR)'; cat $(SET_UP_FILES)) | git hash-object --stdin)
TEST_READY := .venv/.test-$(KEY)
# What is set up for the tests is set up for the demo too.
DEMO_READY := $(or $(wildcard $(TEST_READY)),.venv/.demo-$(KEY))

.DEFAULT_GOAL := help
CAMPAIGNS ?= $(wildcard docs/campaign/*.yaml)

.PHONY: help demo campaign pictures test lint format docs docs-check doctor clean

help: ## list the targets
	@echo 'usage: make TARGET'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' Makefile
	@echo
	@echo '  make demo DATA=/any/folder/of/images     the demo on your own images'
	@echo '  make test TESTS="tests/masking -k block"  a part of the suite'
	@echo '  make demo PYTHON=python3.12               another interpreter for .venv'

demo: $(DEMO_READY) ## set up, pre-train on 3,409 photographs (or DATA), print a table, draw two pictures
	@$(PY) tools/demo.py $(if $(DATA),--data "$(DATA)")

campaign: $(DEMO_READY) ## pre-train and compare methods, which takes hours; finished runs are not repeated
	@for file in $(CAMPAIGNS); do $(PY) tools/campaign.py "$$file" || exit 1; done

pictures: $(TEST_READY) ## draw the pictures of the documents, or the one PICTURES names
	@PATH="$(CURDIR)/.venv/bin:$$PATH" docs/pictures.sh $(PICTURES)

test: $(TEST_READY) lint ## set up everything, run every check and test
	@OMP_NUM_THREADS=1 $(PY) -m pytest $(or $(TESTS),-n 2)

lint: $(TEST_READY) ## check style and the direction of imports
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@.venv/bin/lint-imports --no-logo --no-cache

format: $(TEST_READY) ## bring the code into the project's style
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

docs: $(TEST_READY) ## build the site into build/site
	@$(PY) -m sphinx -W --keep-going -q -d build/doctrees -c docs . build/site
	@echo 'build/site/docs/index.html'

docs-check: $(TEST_READY) ## check links, file names and commands in the documents
	@$(PY) -m pytest -q tests/test_docs.py

doctor: $(DEMO_READY) ## list the packages found and what is wrong with them
	@$(PY) -m mmmask.doctor

clean: ## remove caches and build output; .venv, data and work_dirs stay
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

.venv/.demo-$(KEY) $(TEST_READY): .venv/.%-$(KEY):
	@$(PYTHON) tools/setup_environment.py $*
	@rm -f .venv/.demo-* $(if $(filter test,$*),.venv/.test-*)
	@touch $@
