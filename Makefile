# `make` or `make help` lists the targets. Everything is built in .build/; nothing is installed but Debian packages.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CODE := HSM Keys Attestation Ceremonies Sources Tests Package.swift
RELEASE := .build/release
# Other people's test data; a suite whose folder is absent is skipped, and .ci/run fails.
export TRUSTCORE_VECTORS ?= $(abspath ../shared/vectors)

# Suites whose clients and servers share one process, with deadlines on the wire: they run when nothing else does.
NETWORK := WorkloadAPITests|OperatorClientTests|FederationClientTests|FederationRefresherTests

.PHONY: help demo test run lint bench build setup fuzz soak clean
# Two builds in one .build/ only wait for each other.
.NOTPARALLEL:

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## Build in release mode and run the main job from end to end; exit code 0 only if each step did what it should.
	@if [ ! -x $(RELEASE)/DemoDriver ]; then \
	  echo 'The first release build takes about 10 minutes on two cores; later ones take seconds.'; fi
	@for product in trustcored trustcore DemoDriver; do swift build -c release --product $$product; done
	@$(RELEASE)/DemoDriver --trustcored $(RELEASE)/trustcored --trustcore $(RELEASE)/trustcore

test: setup ## Build and run every test; TEST=<regular expression> picks some.
	@if [ ! -d .build/debug ]; then echo 'The first debug build takes about 8 minutes on two cores.'; fi
	@if python=$$(.ci/python-tools); then export TRUSTCORE_PYTHON=$$python; fi; \
	  swift build --build-tests && \
	  if [ -n '$(TEST)' ]; then swift test --skip-build --filter '$(TEST)'; else \
	    code=0; swift test --skip-build --skip '$(NETWORK)' || code=$$?; \
	    swift test --skip-build --filter '$(NETWORK)' && exit $$code; fi

run: setup ## Start the daemon in development mode on .trustcore/; ARGS=... are passed on.
	@swift build --product trustcored
	@.build/debug/trustcored serve --dev --state .trustcore $(ARGS)

lint: ## Check the format, and that nothing is tracked that belongs to one machine.
	@swift format lint --strict --recursive --parallel --configuration .swift-format $(CODE)
	@.ci/tracked-files

bench: setup ## Measure the release build; prints a table and writes bench.json. ARGS=... are passed on.
	@for product in trustcored Benchmarks; do swift build -c release --product $$product; done
	@if python=$$(.ci/python-tools); then export TRUSTCORE_PYTHON=$$python; fi; \
	  $(RELEASE)/Benchmarks --trustcored $(RELEASE)/trustcored --output bench.json $(ARGS)

build: setup ## Build everything for debugging.
	@swift build

setup: ## Install the Debian packages that are missing, and check the Swift toolchain.
	@.ci/setup

fuzz: setup ## Feed every parser with FUZZ_ROUNDS mutated inputs, 300000 unless stated; CI feeds 3000.
	@FUZZ_ROUNDS=$${FUZZ_ROUNDS:-300000} swift test --filter '[Ff]uzz|[Mm]utation'

soak: setup ## Run the crash tests and the simulations ROUNDS times, 20 unless stated.
	@swift build --build-tests
	@for round in $$(seq $(or $(ROUNDS),20)); do echo "round $$round"; TRUSTCORE_SOAK=1 swift test --skip-build --filter '[Cc]rash|[Ss]imulation|ReleaseRace|everyAlteredCell'; done

clean: ## Remove what was built and the development state.
	@rm -rf .build .trustcore bench.json
