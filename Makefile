# Everything a contributor runs. Tools are pinned here and installed into bin/tools; none is a dependency of the module.
LINT_VERSION     := v2.15.0
DEADCODE_VERSION := v0.52.0
VULN_VERSION     := v1.8.0
VALIDATE_VERSION := v0.0.4
OPENAPI_VERSION  := v2.8.2
TOOLS    := bin/tools
LINT     := $(TOOLS)/golangci-lint-$(LINT_VERSION)
DEADCODE := $(TOOLS)/deadcode-$(DEADCODE_VERSION)
VALIDATE := $(TOOLS)/kubectl-validate-$(VALIDATE_VERSION)
OPENAPI  := $(TOOLS)/oapi-codegen-$(OPENAPI_VERSION)
BINARIES := bin/lease bin/janitor bin/sidecar bin/sidecar-direct
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TAGS     := e2e,bench,chaos,hostile,mutants

# The race detector needs cgo, which Go switches off by itself where there is no C compiler.
RACE ?= $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

# The version is stamped by -ldflags; Go's own stamp would fail in a tree that another user owns.
export GOFLAGS += -buildvcs=false

.DEFAULT_GOAL := help
.PHONY: help build $(BINARIES) demo test properties e2e sim sim-mutants chaos hostile fuzz bench check tidy generate generated format lint deadcode deployment policies vuln clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(BINARIES) ## Build lease, janitor, sidecar and sidecar-direct into bin/
# The small sidecar is on every instance, and all of it is resident: no symbols, no inlining, and no HTTP/2, which it never speaks.
bin/sidecar: SMALL := -tags nethttpomithttp2,urfave_cli_no_docs -gcflags all=-l
$(BINARIES): bin/%:
	CGO_ENABLED=0 go build -trimpath $(SMALL) -ldflags '$(if $(SMALL),-s -w )-X main.version=$(VERSION)' -o $@ ./cmd/$*
demo: build ## Watch leases expire in a simulated EC2, in 20 seconds
	./bin/janitor demo
test: ## Run the tests, with the race detector where there is a C compiler
	@test -n "$(RACE)" || echo 'NOTE: no C compiler, so the tests run WITHOUT the race detector' >&2
	RAPID_SEED=$(or $(RAPID_SEED),1) go test $(RACE) -timeout 30m ./...
properties: ## Check the properties in more random worlds, others each time than those of make test (CHECKS=2000 of each)
	RAPID_CHECKS=$(or $(CHECKS),2000) go test -count=1 -timeout 3h $$(go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | awk '/pgregory.net.rapid/ { print $$1 }')

e2e: ## Run the three binaries against etcd and moto (KILLS=50: kill more launchers; needs: pip install 'moto[ec2,server]' awscli; prometheus)
	go test -tags e2e -count=1 -v -timeout 15m -parallel 6 -run TestE2E ./cmd/internal/e2e # processes: they have no race detector
	go test -tags e2e -count=1 -v -timeout 15m -parallel 12 -run TestE2E ./cmd/internal/scenario
sim: ## Run the real code through random schedules of faults, and judge (SEEDS=2000 of them, from SEED=0 on)
	SEEDS='$(or $(SEEDS),2000)' go test -count=1 -v -timeout 12h -run 'TestSim$$|TestTheSameSeed' ./cmd/internal/sim
sim-mutants: ## Plant each bug of cmd/internal/sim/testdata/bugs, and see it caught (BUGS='some by name')
	BUGS='$(or $(BUGS),all)' go test -tags mutants -count=1 -v -timeout 6h -parallel 2 -run TestPlantedBugs ./cmd/internal/sim

chaos: ## Let processes, clocks, links and EC2 fail for ten minutes, and judge (CHAOS=short: a minute; SEED=)
	go test -tags chaos -count=1 -v -timeout 60m -run TestChaos ./cmd/internal/chaos
hostile: ## Attack the processes with what no model has: clocks, set-backs, stopped pipes, lies (HOSTILE=short: 12 rows, in 4 min)
	go test -tags hostile -count=1 -v -timeout 30m -parallel 16 -run 'TestHostile$(if $(filter short,$(HOSTILE)),Row)' ./cmd/internal/hostile
fuzz: ## Fuzz every target, one after the other, for FUZZTIME each (10m)
	@set -e; for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(or $(FUZZTIME),10m) -fuzzminimizetime 1s $$p; done; done

bench: build ## Measure the figures that are promised (BENCH=short: a small form, in a minute)
	go test -tags bench -count=1 -v -timeout 2h -run TestBench ./cmd/internal/bench

check: tidy generated format lint deadcode deployment policies ## Everything that reads the code without running it
tidy: ## go.mod and go.sum list what is imported, and nothing else
	go mod tidy -diff
generate: $(OPENAPI) ## Types and routes of the instance API, from lease/api/openapi.yaml
	cd lease/api && $(CURDIR)/$(OPENAPI) -config wire/codegen.yaml -o wire/generated.go openapi.yaml
generated: $(OPENAPI) ## What is generated is as openapi.yaml says
	@cd lease/api && $(CURDIR)/$(OPENAPI) -config wire/codegen.yaml -o $(CURDIR)/$(TOOLS)/generated.txt openapi.yaml
	diff $(TOOLS)/generated.txt lease/api/wire/generated.go || { echo 'run make generate'; exit 1; }
format: $(LINT) ## Formatting, by gofumpt
	$(LINT) fmt --diff
lint: $(LINT) ## golangci-lint, with .golangci.yml
	$(LINT) run
deadcode: $(DEADCODE) ## No function is out of reach of every command and every test
	@echo '$(DEADCODE) -test -tags $(TAGS) ./...'
	@dead=$$($(DEADCODE) -test -tags $(TAGS) ./...) && test -z "$$dead" || { echo "$$dead"; exit 1; }
deployment: build $(VALIDATE) ## Units, user-data, alerts and manifests, each by its own tool
	deploy/check bin $(VALIDATE)
policies: ## IAM policies: what they must never allow. Dashboard and metrics: that they agree
	go test -count=1 ./deploy/...
vuln: ## Known vulnerabilities (asks the Go vulnerability database, on the internet)
	go run golang.org/x/vuln/cmd/govulncheck@$(VULN_VERSION) ./...
clean: ## Remove what was built
	rm -rf bin

$(LINT): PACKAGE := github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(DEADCODE): PACKAGE := golang.org/x/tools/cmd/deadcode
$(VALIDATE): PACKAGE := sigs.k8s.io/kubectl-validate
$(OPENAPI): PACKAGE := github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen
$(LINT) $(DEADCODE) $(VALIDATE) $(OPENAPI):
	GOBIN=$(CURDIR)/$(TOOLS) go install $(PACKAGE)@$(lastword $(subst -v, v,$@))
	mv $(TOOLS)/$(notdir $(PACKAGE)) $@
