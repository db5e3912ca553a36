SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-builtin-rules --warn-undefined-variables
.DEFAULT_GOAL := help

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PKG      ?= ./...
ARGS     ?=
FUZZTIME ?= 30s
FUZZ     ?= .

LINT_VERSION := v2.15.0
LINT         := $(CURDIR)/.tools/golangci-lint

# The race detector needs cgo and a C compiler; need-cc finds or installs one.
# Everything else, the released binary above all, is built without cgo.
RACE = cc="$$(scripts/need-cc)" && CC="$$cc" CGO_ENABLED=1 go test -race

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## Build bin/waybill, static and stripped
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/waybill ./cmd/waybill

.PHONY: run
run: build ## Build, then run the demo (ARGS="-flag …" is passed on)
	bin/waybill demo $(ARGS)

.PHONY: test
test: ## Run every test under the race detector (PKG=./internal/event/... for some)
	@scripts/need-aws
	@scripts/need-stripe
	@scripts/need-stripe-node
	@scripts/need-postgres
	@$(RACE) -timeout 14m $(PKG)

.PHONY: lint
lint: lint-tool ## Vet, lint, check formatting and go.mod
	go mod tidy -diff
	go vet ./...
	$(LINT) run ./...
	$(LINT) fmt --diff

.PHONY: fmt
fmt: lint-tool ## Format the tree (gofumpt, import groups)
	$(LINT) fmt

# Installed beside the tree, so that everyone and every machine lints alike.
.PHONY: lint-tool
lint-tool:
	@have="$$($(LINT) version --short 2>/dev/null || true)"; \
	if [[ "v$${have#v}" != "$(LINT_VERSION)" ]]; then \
		echo "installing golangci-lint $(LINT_VERSION) into .tools (have: $${have:-none})"; \
		GOBIN=$(CURDIR)/.tools go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION); \
	fi

.PHONY: fuzz
fuzz: ## Fuzz every parser for FUZZTIME each (30s; FUZZ=regexp picks targets)
	@scripts/fuzz '$(FUZZTIME)' '$(FUZZ)'

.PHONY: crash
crash: ## Kill the server a hundred times and count what was lost
	@export WAYBILL_CRASH_KILLS=100; \
	$(RACE) -run TestCrash -timeout 60m -count=1 ./internal/app/...

.PHONY: chaos
chaos: ## Kill nodes, crash PostgreSQL, cut networks for minutes; take PostgreSQL away for 30 s
	@scripts/need-postgres
	@export WAYBILL_CHAOS_ROUNDS=6 WAYBILL_FAILOVER_OUTAGE=30s; \
	$(RACE) -v -run 'TestChaos|TestFailover|TestCutOff' -timeout 30m -count=1 ./internal/app/...

.PHONY: replay-million
replay-million: ## Replay a million deliveries: pause, kill the server, resume, beside a fresh load
	WAYBILL_REPLAY_EVENTS=1000000 go test -v -run TestReplayKilled -timeout 60m -count=1 ./internal/app

.PHONY: bench
bench: build ## Measure the whole server under load (ARGS="-flag …" is passed on)
	go run ./bench $(ARGS)

.PHONY: isolation
isolation: build ## Measure that one dead destination delays no other
	go run ./bench -isolation $(ARGS)

.PHONY: bench-postgres
bench-postgres: build ## Measure nodes on PostgreSQL beside SQLite, and with a million retries
	@scripts/need-postgres
	go run ./bench -postgres $(ARGS)

.PHONY: bench-go
bench-go: ## Run the Go benchmarks (PKG=./internal/pattern/... for some)
	go test -bench . -benchmem -run '^$$' $(PKG)

.PHONY: clean
clean: ## Remove what make built (the linter in .tools stays)
	rm -rf bin coverage.out
