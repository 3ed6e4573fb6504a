# Every command sets up what it needs: Go downloads the modules, and the Python
# tools of the local cloud go to .local/venv unless the machine has them already.
.DEFAULT_GOAL := help
.PHONY: help run test bench lint vulncheck build deploy clean fuzz soak
SHELL := /bin/sh

FUNCTIONS := $(notdir $(wildcard functions/*))
# No RPC server, which only the retired go1.x runtime needs; no debug tables and
# no paths of this machine.
GOBUILD   := CGO_ENABLED=0 go build -tags lambda.norpc -ldflags "-s -w" -trimpath
GOVULNCHECK := go tool govulncheck $(if $(VULNDB),-db $(VULNDB)) ./...
STAGE     ?= dev
FUZZTIME  ?= 30s

help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

run: build ## Run everything on this machine: the API, the sources, a demo container
	@go build -o .build/local ./infra/local
	@PYTHON="$$(infra/local/python.sh)" && export PYTHON && exec .build/local

# Most of the tests' time is waiting: more of them at once than there are cores.
test: build ## Run all tests
	@PYTHON="$$(infra/local/python.sh)" && export PYTHON && go test -race -parallel 4 ./...

soak: build ## Run the long tests: 200 random walks with faults, 2,000 triggers (an hour or more)
	@PYTHON="$$(infra/local/python.sh)" && export PYTHON && \
		go test -timeout 0 -v -run TestNoneOfManyTriggersIsLost ./infra/e2e -triggers 2000 && \
		go test -timeout 0 -v -run TestThePromisesHoldWhateverFails ./infra/e2e -rapid.checks 200 -rapid.steps 60

bench: build ## Measure the relay and the functions' starts, each against its floor
	@$(GOBUILD) -o .build/bin/ ./infra/bench ./infra/bench/floor ./infra/bench/hello
	@PYTHON="$$(infra/local/python.sh)" && export PYTHON && .build/bin/bench

lint: ## Check the code, what it depends on, and the template
	@unformatted="$$(gofmt -l functions shared infra)"; test -z "$$unformatted" || { echo "not gofmt'ed: $$unformatted"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	@# 3 is a vulnerability; anything else that the database could not be reached,
	@# for which a deployment waits, but not all other work.
	@$(GOVULNCHECK); case $$? in 0) ;; 3) exit 1 ;; *) echo "WARNING: not checked for known vulnerabilities: make vulncheck must pass before a deployment" ;; esac
	@PYTHON="$$(infra/local/python.sh)" && "$$PYTHON" -c 'import sys; from cfnlint.runner import main; sys.exit(main())' template.yaml

vulncheck: ## Look for known vulnerabilities; VULNDB names a mirror of their database
	$(GOVULNCHECK)

build: ## Build every function for this machine, into .build
	@$(GOBUILD) -o .build/bin/ ./functions/...
	@for f in $(FUNCTIONS); do mkdir -p .build/$$f && ln -f .build/bin/$$f .build/$$f/bootstrap; done

deploy: vulncheck ## Deploy to your AWS account (STAGE=dev, staging or prod); wants the SAM CLI
	sam build
	sam deploy --config-env $(STAGE)

fuzz: ## Run each fuzz target for FUZZTIME (30s); what it learns is kept in testdata/fuzz
	@for package in $$(grep -rl --include='*_test.go' '^func Fuzz' functions shared infra | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$package/*_test.go | cut -d' ' -f2); do \
			echo "$$package $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$package -args -test.fuzzcachedir="$(CURDIR)/$$package/testdata/fuzz" || exit 1; \
		done; \
	done

clean: ## Remove what was built and what the local cloud keeps
	rm -rf .build .local .aws-sam

# `sam build` calls build-<logical ID> for each function: CreateTriggerFunction
# is functions/create-trigger.
build-%Function:
	GOOS=linux GOARCH=arm64 $(GOBUILD) -o "$(ARTIFACTS_DIR)/bootstrap" ./functions/$$(echo $* | sed 's/\([a-z]\)\([A-Z]\)/\1-\2/g' | tr A-Z a-z)

# The one function that is deployed twice.
build-DispatchQueueLongFunction: build-DispatchQueueFunction ;
