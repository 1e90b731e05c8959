# Needs Python 3.11 to 3.13, Java 17 or newer and make; nothing here needs root.
.DEFAULT_GOAL := help
.PHONY: help env demo check test lint crash stack stack-test bench lock clean
SHELL := /bin/sh
# Python keeps what it compiles in .venv: a process that compiles all it imports takes seconds more.
unexport PYTHONDONTWRITEBYTECODE
BIN := .venv/bin
STACK := stack
DEMO := $(if $(LANDING),--landing '$(LANDING)') $(if $(STAGE),--stage '$(STAGE)') \
	$(if $(LAKE),--lake '$(LAKE)') $(if $(filter 0 no false,$(SERVE)),--no-serve)
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(ARGS)

help: ## This list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1: /p' Makefile | sed 's/^\([a-z-]*\): /make \1\t/'

env: ## Bring .venv up to date (PYTHON=3.12 chooses); nothing to do: nothing done
	@scripts/env.sh '$(PYTHON)'

demo: env ## The whole lake, from files to the page [LANDING=DIR STAGE=NAME LAKE=DIR SERVE=0]
	@$(BIN)/platelake demo $(strip $(DEMO))

check: lint ## Before each commit: lint, and the tests without JVM, browser or database [ARGS]
	@JAVA_HOME=/nowhere $(BIN)/pytest -q -n 2 -m 'not heavy' $(ARGS)

test: lint ## Every check and test, two at a time [ARGS='-k name']
	@$(BIN)/pytest -q -n 2 $(ARGS)

lint: env ## Format, style, types, and which package imports which
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@said=$$($(BIN)/lint-imports 2>&1) || { echo "$$said" >&2; exit 1; }

crash: env ## Kill the pipeline at twenty points, with and without Spark, and look at what it left
	@$(BIN)/pytest -q -s tests/test_crash.py --kill-points 20 $(ARGS)

stack: env ## HDFS, Spark, MariaDB, MLflow, Airflow and the app, each a process of its own [STACK=DIR]
	@exec $(BIN)/python scripts/stack.py '$(STACK)'

stack-test: env ## The real stack, end to end, with a fault of each kind [ARGS]
	@$(BIN)/pytest -q -s --stack tests/stack $(ARGS)

bench: env ## The lake and what a person would write, to docs/benchmarks.md [ARGS='--only NAME']
	@$(BIN)/uv pip install --quiet --require-hashes --target .bench -r requirements-bench.lock
	@$(BIN)/python benchmarks/bench.py $(ARGS)

lock: env ## Make the lock files anew from pyproject.toml [ARGS=--upgrade]
	@$(LOCK) --extra dev --group build pyproject.toml -o requirements.lock
	@$(LOCK) --constraints requirements.lock --group build -o requirements-build.lock
	@$(LOCK) --group airflow -o requirements-airflow.lock
	@$(LOCK) --group bench -o requirements-bench.lock

clean: ## Remove .venv and what tools left
	@rm -rf .bench .venv .venv.before .venv-airflow .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache *.egg-info spark-warehouse
