# Every target can be run on a fresh checkout; what it needs is made first.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
CRD := routingpolicies.virtualservice-operator.dev.yaml
export PYTHONPATH := tests
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "making .venv from requirements-dev.lock (about half a minute)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: venv
venv: $(READY) ## Make .venv.

.PHONY: demo
demo: $(READY) ## Show the operator at work on a control plane of its own; KEEP=1 leaves it running.
	@$(BIN)/python -m demo $(if $(KEEP),--keep)

.PHONY: test
test: $(READY) ## Run all tests that need no container engine; those that wait for minutes are in make faults.
	@$(BIN)/python -m pytest -m "not kind and not mesh and not slow" $(ARGS)

.PHONY: faults
faults: $(READY) ## Break everything around the operator and write what was measured into docs/reliability.md (about an hour).
	@$(BIN)/python -m faults $(ARGS)

.PHONY: traffic
traffic: $(READY) ## Ask real Envoys: does each request go where the policy says? (as root; about 10 minutes the first time)
	@$(BIN)/python -m pytest tests/traffic tests/mesh -m mesh -p no:randomly -q --no-header $(ARGS)

.PHONY: image
image: $(READY) ## Build the operator's image, virtualservice-operator:VERSION; without Docker, into build/.
	@$(BIN)/python -m kind image

.PHONY: e2e
e2e: $(READY) ## Install the operator on a kind cluster and use it with kubectl (about 15 minutes the first time).
	@$(BIN)/python -m pytest tests/e2e -p no:randomly $(ARGS)

.PHONY: check
check: $(READY) ## Format, lint, types, import contracts, generated files, pure tests with coverage.
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory verify
	@$(BIN)/python -m pytest -q -m "not controlplane and not kind and not mesh and not slow" --cov --cov-report=term --cov-fail-under=95

.PHONY: properties
properties: $(READY) ## Run the property tests over 100,000 random clusters (more than half an hour).
	@PROPERTY_EXAMPLES=9100 $(BIN)/python -m pytest -q tests/properties

.PHONY: fuzz
fuzz: $(READY) ## Render templates by chance for FUZZ=60 seconds, and keep the seeds of odd ones in tests/hostile/seeds.txt.
	@$(BIN)/python -m hostile.fuzz --seconds $(or $(FUZZ),60)

.PHONY: crd
crd: $(READY) ## Write the CRD from the models.
	@mkdir -p crds kustomize/base
	@$(BIN)/vso crd | tee crds/$(CRD) > kustomize/base/$(CRD)

.PHONY: verify
verify: $(READY) ## Prove that what is generated is what is committed.
	@$(BIN)/vso crd | diff - crds/$(CRD) || { echo "crds/ is not what the models make: run make crd"; exit 1; }
	@diff crds/$(CRD) kustomize/base/$(CRD) || { echo "kustomize/base is behind crds/: run make crd"; exit 1; }

.PHONY: failover
failover: $(READY) ## Kill the leader and ask it to stop, twenty times each, under changes (about 15 minutes); RUNS=20.
	@FAILOVER_RUNS=$(or $(RUNS),20) $(BIN)/python -m pytest -q -p no:randomly -rP tests/cluster/test_leader.py -k "takes_over_from" $(ARGS)

.PHONY: bench
bench: $(READY) ## Count and time against a bare client; N=1000 Services.
	@$(BIN)/python -m bench --services $(or $(N),1000)

.PHONY: dashboard
dashboard: $(READY) ## Draw docs/dashboard.png from a real Prometheus' scrape of a real operator (about four minutes).
	@$(BIN)/python -m monitoring picture

.PHONY: latency
latency: $(READY) ## Time from kubectl apply, and from a ready copy, to the first request that goes there (as root).
	@$(BIN)/python -m mesh latency

.PHONY: format
format: $(READY) ## Format and mend what can be mended.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

# Extras stay in the pins: pip takes `coverage` for another package than `coverage[toml]`, and the newest of the latter.
.PHONY: lock
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-strip-extras
lock: $(READY) ## Write the lock files; UPGRADE=1 takes newer versions.
	@$(LOCK) $(if $(UPGRADE),--upgrade) -o requirements.lock pyproject.toml
	@$(LOCK) $(if $(UPGRADE),--upgrade) --group dev -o requirements-dev.lock pyproject.toml
	@echo setuptools | $(LOCK) -c requirements-dev.lock -o requirements-build.lock -
