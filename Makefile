# Everything a contributor runs. Tools are pinned here and installed into bin/tools; none is a dependency of the module.
LINT_VERSION     := v2.15.0
DEADCODE_VERSION := v0.52.0
VULN_VERSION     := v1.8.0
VALIDATE_VERSION := v0.0.4

TOOLS    := bin/tools
LINT     := $(TOOLS)/golangci-lint-$(LINT_VERSION)
DEADCODE := $(TOOLS)/deadcode-$(DEADCODE_VERSION)
VALIDATE := $(TOOLS)/kubectl-validate-$(VALIDATE_VERSION)
BINARIES := bin/lease bin/janitor bin/sidecar
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# The race detector needs cgo, which Go switches off by itself where there is no C compiler.
RACE ?= $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

# The version is stamped by -ldflags; Go's own stamp would fail in a tree that another user owns.
export GOFLAGS += -buildvcs=false

.DEFAULT_GOAL := help
.PHONY: help build $(BINARIES) demo test e2e bench chaos check tidy format lint deadcode deployment policies vuln clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(BINARIES) ## Build lease, janitor and sidecar into bin/

$(BINARIES): bin/%:
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o $@ ./cmd/$*

demo: build ## Watch instances live and lapse in a simulated EC2, in under a minute
	./bin/janitor demo

test: ## Run the tests, with the race detector where there is a C compiler
	@test -n "$(RACE)" || echo 'NOTE: no C compiler, so the tests run WITHOUT the race detector' >&2
	go test $(RACE) ./...

e2e: ## Run the three binaries against etcd and moto (needs: pip install 'moto[ec2,server]' awscli; prometheus)
	go test $(RACE) -tags e2e -count=1 -v -timeout 15m -run TestE2E ./cmd/internal/e2e

bench: build ## Measure the figures that are promised (BENCH=short: a small form, in a minute)
	go test -tags bench -count=1 -v -timeout 60m -run TestBench ./cmd/internal/bench

chaos: build ## Let processes, links and EC2 fail for ten minutes, and judge (CHAOS=short: a minute; SEED=)
	go test -tags chaos -count=1 -v -timeout 60m -run TestChaos ./cmd/internal/chaos

check: tidy format lint deadcode deployment policies ## Everything that reads the code without running it

tidy: ## go.mod and go.sum list what is imported, and nothing else
	go mod tidy -diff

format: $(LINT) ## Formatting, by gofumpt
	$(LINT) fmt --diff

lint: $(LINT) ## golangci-lint, with .golangci.yml
	$(LINT) run

deadcode: $(DEADCODE) ## No function is out of reach of every command and every test
	@echo '$(DEADCODE) -test -tags e2e,bench,chaos ./...'
	@dead=$$($(DEADCODE) -test -tags e2e,bench,chaos ./...) && test -z "$$dead" || { echo "$$dead"; exit 1; }

deployment: build $(VALIDATE) ## Units, user-data, alerts and manifests, each by its own tool
	deploy/check bin $(VALIDATE)

policies: ## IAM policies: what they must never allow. Dashboard and metrics: that they agree
	go test -count=1 ./deploy/...

vuln: ## Known vulnerabilities (asks the Go vulnerability database, on the internet)
	go run golang.org/x/vuln/cmd/govulncheck@$(VULN_VERSION) ./...

clean: ## Remove what was built
	rm -rf bin

# Each tool gets its version into its name, so that another version is another file.
install = GOBIN=$(CURDIR)/$(TOOLS) go install $1@$2 && mv $(TOOLS)/$(notdir $1) $@
$(LINT): ; $(call install,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,$(LINT_VERSION))
$(DEADCODE): ; $(call install,golang.org/x/tools/cmd/deadcode,$(DEADCODE_VERSION))
$(VALIDATE): ; $(call install,sigs.k8s.io/kubectl-validate,$(VALIDATE_VERSION))
