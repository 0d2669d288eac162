# Fairway. `make demo` shows what it does, `make test` proves it; both bring what they need.
# The work is in the crates: every target here is a line or two.

CACHE  := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/fairway
TOOLS  := $(CACHE)/tools
DENY   := $(TOOLS)/bin/cargo-deny
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
ARGS   ?=
# The Go of conformance/: any Go since 1.21 fetches this one.
GO      := env GOTOOLCHAIN=go1.27.3 CGO_ENABLED=0 go -C conformance
# What is silent for long, with the time that it takes.
PROGRESS := ./.ci/progress
CLUSTER := $(TOOLS)/bin/fwcluster
# Cargo, with progress also where there is no terminal.
CARGO   := ./.ci/cargo
# One build for tests, demo and the cluster's images: whoever has run one of them has compiled most of the others. There are no examples;
# `--examples` has cargo choose the features of dependencies as it does for tests.
BUILD   := $(CARGO) build --locked --workspace --examples

.DEFAULT_GOAL := help
.PHONY: help demo test lint deny unit guard verify fuzz bench build conformance behaviour cluster images harness $(CLUSTER) charts

help: ## What can be done here
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## The whole job on real traffic, on this machine (ARGS="--keep" or "--output json")
	@$(BUILD) --bin fairway
	@$(TARGET)/debug/fairway demo $(ARGS)

build: ## Release binaries of every program
	$(CARGO) build --locked --release -p fairway-cli -p fairway-controller -p fairway-waypoint -p fairway-ztunnel

test: lint deny unit ## Everything: format, lints, licences, unit, property and end-to-end tests

lint: ## Format, clippy and documentation with warnings denied, and which way dependencies point (lint/structure.txt)
	cargo fmt --all --check
	@$(CARGO) build --locked -p fairway-lint
	@$(TARGET)/debug/fairway-lint
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps

deny: $(DENY) ## Dependencies: bans, licences, sources; advisories where their database can be reached
	$(DENY) --workspace --log-level warn check bans licenses sources
	@$(DENY) --workspace --log-level error check advisories 2>/dev/null || echo "advisories: not checked (database not reachable) or found, see \`cargo deny check advisories\`"

unit: ## All tests
	$(CARGO) test --locked --workspace --no-run
	cargo test --locked --workspace --quiet

guard: ## What a request costs, in allocations and instructions, against bench/guard.json (ARGS=--update writes it; instructions need Valgrind)
	@$(BUILD) --bin fairway-bench --bin fairway-guard
	@$(TARGET)/debug/fairway-bench guard $(ARGS)

verify: ## Before a release: all of the above and below, every test of behaviour, with release builds (root; an hour or two)
	./.ci/run release

charts: ## The Helm charts: lint, golden files, wrong values, docs (ARGS=-update writes the files; needs Go)
	@cd charts/test && GOTOOLCHAIN=go1.27.3 GOFLAGS=-trimpath GOWORK=off CGO_ENABLED=0 $(CURDIR)/.ci/progress "charts: compile and run the tests" \
		go test . $(addprefix -args ,$(ARGS))

fuzz: ## Every fuzz target for 30 s (needs a nightly toolchain; brings cargo-fuzz)
	./fuzz/run $(TOOLS)

bench: build ## The published figures, measured here (ARGS="gateway …", "tunnel …" or "fairness …")
	$(CARGO) run --quiet --release -p fairway-bench -- $(or $(ARGS),gateway)

conformance: $(CLUSTER) ## The official Gateway API suite on a real two-node Kubernetes, made here and taken down again (root)
	$(CLUSTER) conformance $(ARGS)

behaviour: $(CLUSTER) ## Behaviour under change, on the cluster that is up with Fairway installed: ARGS="--list", "--when change", "--run TestRollingRestart"
	$(CLUSTER) behaviour $(ARGS)

cluster: $(CLUSTER) ## That Kubernetes to keep: ARGS="up" (default), "down", "status", "load", "install", "kubectl get pods -A"
	@$(CLUSTER) $(or $(ARGS),up)

images: $(CLUSTER) ## Images of our programs as archives, without Docker (for `docker load`, `kind load image-archive`)
	$(CLUSTER) images $(ARGS)

harness: ## Format, vet and tests of conformance/ (those of machines need root)
	@cd conformance && test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	@$(PROGRESS) -p "harness: vet" $(GO) vet -v -trimpath ./...
	@$(PROGRESS) "harness: compile and run the tests" $(GO) test -trimpath ./...

$(CLUSTER):
	@test -e $@ || echo "compiling fwcluster into $(TOOLS) (the first time some minutes)"
	@$(PROGRESS) -p "compiling fwcluster" $(GO) build -v -trimpath -o $@ ./cmd/fwcluster

$(DENY):
	@echo "installing cargo-deny into $(TOOLS) (once, a minute or two)"
	@CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=0 $(CARGO) install --debug --locked cargo-deny@0.20.2 --root $(TOOLS)
