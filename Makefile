# Holub.  `make` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
T ?= tests/unit tests/integration

.PHONY: image render integration-compose help run check format test integration chaos bench lock clean docs soak

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "holub: python3 is missing; install Python 3.11 or later"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "holub: Python 3.11 or later is needed (set PYTHON=...)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "holub: the venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "installing what requirements.lock names ..."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: .venv/.installed ## Start the whole platform on this machine, with a demo domain
	@$(BIN)/holub demo

check: .venv/.installed ## Format, lint, types, import contracts, manifests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/unit/deploy

format: .venv/.installed ## Format the code, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: .venv/.installed ## Unit tests, then integration tests against real servers (T=path for some)
	$(BIN)/pytest $(T)

integration: .venv/.installed ## The integration tests alone
	$(BIN)/pytest tests/integration

chaos: .venv/.installed ## Crash every role at every failpoint under load, and judge (ARGS=--short)
	$(BIN)/python -m tests.chaos $(ARGS)

soak: .venv/.installed ## IMAP clients at random for 10 minutes, mail delivered, gateways killed (ARGS="--seconds 60")
	$(BIN)/python -m tests.soak $(ARGS)

bench: .venv/.installed ## Holub beside Postfix + Dovecot in one run (ARGS=--quick, docs/benchmarks.md)
	$(BIN)/python -m tests.bench $(ARGS)

docs: .venv/.installed ## Write the pages that are made from the code
	$(BIN)/python -m services.api.document > docs/api.md

image: ## Build the image holub:latest (ARGS=--build-arg=BASE_IMAGE=...)
	docker build -f deploy/Dockerfile -t holub:latest $(ARGS) .

render: .venv/.installed ## Write what is generated: install.yaml, rules, metric and setting pages
	$(BIN)/python -m deploy.render

integration-compose: .venv/.installed ## Build the image, run the compose stack, restart it under load
	HOLUB_COMPOSE=1 $(BIN)/pytest tests/integration/compose

lock: ## Write requirements.lock anew from pyproject.toml (needs uv)
	uv export --no-header --no-emit-project --all-groups -o requirements.lock >/dev/null
	uv export --no-header --no-emit-project --no-dev -o deploy/requirements.lock >/dev/null

clean: ## Remove what was built; keeps var/, which holds mail
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache
