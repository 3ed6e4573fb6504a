# Every command sets up what it needs: Go downloads the modules, and the Python
# tools of the local cloud go to .local/venv unless the machine has them already.
.DEFAULT_GOAL := help
.PHONY: help run sam-local e2e openapi-test browser-test deploy-localstack test unit deflake cover bench lint vulncheck build deploy undeploy clean fuzz soak tzdata
SHELL := /bin/sh

FUNCTIONS := $(notdir $(wildcard functions/*))
# No RPC server, which only the retired go1.x runtime needs; no debug tables and
# no paths of this machine. Without the commit's ID, a commit changes only the functions
# whose code it changes.
GOBUILD   := CGO_ENABLED=0 go build -tags lambda.norpc -ldflags "-s -w" -trimpath -buildvcs=false
GOVULNCHECK := go tool govulncheck $(if $(VULNDB),-db $(VULNDB)) ./...
# The linters have a module of their own: the product's needs none of theirs.
LINTERS   := go tool -modfile infra/lint/go.mod
STAGE     ?= dev
FUZZTIME  ?= 30s
COUNT     ?= 100
# The tests wait most of the time, so more of them run at once than there are cores. Lint
# runs vet. Without debug information, linking takes half as long. The end-to-end tests take
# long on a slow machine.
GOTEST    := go test -race -p 3 -parallel 4 -vet=off -ldflags=-w -timeout 20m
# go test begins packages in this order, and repeats none.
LONGEST_FIRST := ./infra/e2e ./shared/relay ./functions/reconcile ./...
# Test binaries get copies of one emulator. Each would else take some six seconds of
# a core for an emulator of its own.
WITH_EMULATORS = PYTHON="$$(infra/local/python.sh)" && export PYTHON && "$$PYTHON" infra/local/moto/mototest/copies.py

help: ## Show this list
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

run: build ## Run everything on this machine: the API, the sources, a demo container
	@go build -o .build/local ./infra/local
	@PYTHON="$$(infra/local/python.sh)" && export PYTHON && exec .build/local

sam-local: ## Run the function F (list-trigger, …) on its sample event in Docker; DOCKER=1 make run must be running
	@test -f events/$(F).json || { echo "F must name a function, as in: make sam-local F=list-trigger"; exit 1; }
	@test -f .local/sam-env.json || { echo "run this in another terminal first: DOCKER=1 make run"; exit 1; }
	@. .local/env && mkdir -p .build && \
		function=$$(echo $(F) | awk -F- '{ for (i = 1; i <= NF; i++) printf "%s%s", toupper(substr($$i, 1, 1)), substr($$i, 2) }')Function && \
		{ sam build $$function --parameter-overrides Architecture=$$ARCHITECTURE >.build/sam-build.log 2>&1 || { cat .build/sam-build.log; exit 1; }; } && \
		sed "s/123456789012/$$AWS_ACCOUNT_ID/g" events/$(F).json | sam local invoke $$function --event - --parameter-overrides Architecture=$$ARCHITECTURE

# The tests use emulators of their own, whatever the shell has. awscron compares 20 times
# as many schedules without the race detector, while the other tests wait.
test: build ## Run all tests, or those of PKG (./shared/domain/cron) whose names match T
	@unset AWS_ENDPOINT_URL; $(if $(T)$(PKG),,go test ./infra/local/awscron & awscron=$$!;) \
		$(WITH_EMULATORS) $(GOTEST) $(if $(T),-run '$(T)') $(or $(PKG),$(LONGEST_FIRST)); \
		status=$$?; $(if $(T)$(PKG),,wait $$awscron || status=1;) exit $$status

# A package needs the emulator if its test binary has the package that starts it.
unit: ## Run the tests that need no emulator
	@$(GOTEST) $$(go list -test -f '{{.ImportPath}} {{join .Deps " "}} ' ./... | awk '$$1 ~ /\.test$$/ && !/\/infra\/local\/moto / { sub(/\.test$$/, "", $$1); print $$1 }')

deflake: build ## Repeat the tests T of PKG, in random order, until one fails or COUNT times (100)
	@test -n "$(PKG)" || { echo "PKG must name a package, as in: make deflake PKG=./shared/domain/cron T=TestParse"; exit 1; }
	@$(WITH_EMULATORS) $(GOTEST) -count $(COUNT) -failfast -shuffle on -timeout 0 $(if $(T),-run '$(T)') $(PKG)

cover: build ## Show how many of the product's statements the tests of PKG (all) run; .build/cover.html shows which
	@$(WITH_EMULATORS) go test -parallel 4 -coverpkg ./functions/...,./shared/... -coverprofile .build/cover.out $(or $(PKG),./...)
	@go tool cover -html .build/cover.out -o .build/cover.html
	@go tool cover -func .build/cover.out | tail -n 1

e2e: build ## Run the end-to-end tests, on the emulator that AWS_ENDPOINT_URL names if it is set
	@PYTHON="$$(infra/local/python.sh)" && export PYTHON && go test -race -parallel 4 -count 1 -timeout 30m -v ./infra/e2e

openapi-test: build ## Send the API made-up requests, and compare its answers with the OpenAPI document
	@test -x .local/schemathesis/bin/schemathesis || { python3 -m venv --clear .local/schemathesis && \
		.local/schemathesis/bin/python -m pip install --quiet --disable-pip-version-check --requirement infra/e2e/requirements.txt; }
	@PYTHON="$$(infra/local/python.sh)" && export PYTHON && SCHEMATHESIS="$(CURDIR)/.local/schemathesis/bin/schemathesis" \
		go test -tags schemathesis -count 1 -timeout 10m -v -run TestDocument_Schemathesis ./infra/e2e

browser-test: build ## Use the console in Chromium, as Debian's package chromium has it or CHROMIUM names it
	@CHROMIUM="$${CHROMIUM:-$$(command -v chromium || command -v google-chrome)}" && export CHROMIUM && \
		{ test -x "$$CHROMIUM" || { echo "CHROMIUM must name the browser: apt-get install chromium"; exit 1; }; } && \
		PYTHON="$$(infra/local/python.sh)" && export PYTHON && go test -tags browser -count 1 -timeout 10m -v -run TestConsole ./infra/e2e

soak: build ## Run the long tests: 200 random walks with faults, 2,000 triggers (an hour or more)
	@PYTHON="$$(infra/local/python.sh)" && export PYTHON && \
		go test -timeout 0 -v -run 'TestLoad_LosesNoneOfManyTriggers|TestRelay_StaysWithinItsLimits' ./infra/e2e -triggers 2000 -large 256 && \
		go test -timeout 0 -v -run TestModel_KeepsThePromisesUnderFaults ./infra/e2e -rapid.checks 200 -rapid.steps 60

bench: build ## Measure lists, relay, dispatchers and starts, and write what calls cost into infra/README.md; BENCH=short measures little
	@$(GOBUILD) -o .build/bin/ ./infra/bench ./infra/bench/floor ./infra/bench/hello
	@PYTHON="$$(infra/local/python.sh)" && export PYTHON && .build/bin/bench $(if $(BENCH),-$(BENCH)) \
		$(if $(BENCH),,&& go test -count 1 -run TestCosts ./infra/e2e -write-costs)

lint: ## Check the code, what it depends on, and the template
	@unformatted="$$(gofmt -l functions shared infra)"; test -z "$$unformatted" || { echo "not gofmt'ed: $$unformatted"; exit 1; }
	$(LINTERS) golangci-lint run ./...
	@dead="$$($(LINTERS) deadcode -test -tags faults ./...)" && test -z "$$dead" || { echo "$$dead"; exit 1; }
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
	sam build --config-env $(STAGE) --build-in-source --parallel
	sam deploy --config-env $(STAGE)

# What samconfig.toml calls the stack of STAGE.
STACK = $(shell sed -n '/^\[$(STAGE)\.global/,/^$$/s/^stack_name = "\(.*\)"/\1/p' samconfig.toml)

undeploy: ## Delete the deployment of STAGE, and say what is retained; wants the SAM CLI
	@test -n "$(STACK)" || { echo "STAGE must name a stage of samconfig.toml, as in: make undeploy STAGE=dev"; exit 1; }
	@go run ./infra/operate undeploy $(STACK)

# Its functions are built for this machine, which LocalStack runs them on.
deploy-localstack: ## Deploy to LocalStack at AWS_ENDPOINT_URL (http://127.0.0.1:4566); wants the SAM CLI
	architecture=$$(uname -m | sed s/aarch64/arm64/) && \
	export AWS_ENDPOINT_URL=$${AWS_ENDPOINT_URL:-http://127.0.0.1:4566} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test && \
	sam build --parameter-overrides Architecture=$$architecture && \
	sam deploy --stack-name container-triggers --region us-east-1 --resolve-s3 --capabilities CAPABILITY_IAM --no-confirm-changeset --no-fail-on-empty-changeset \
		--parameter-overrides "Architecture=$$architecture AllowHttpEndpoints=true AllowPrivateEndpoints=true"

fuzz: ## Run each fuzz target for FUZZTIME (30s); what it learns is kept in testdata/fuzz
	@for package in $$(grep -rl --include='*_test.go' '^func Fuzz' functions shared infra | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$package/*_test.go | cut -d' ' -f2); do \
			echo "$$package $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$package -args -test.fuzzcachedir="$(CURDIR)/$$package/testdata/fuzz" || exit 1; \
		done; \
	done

tzdata: ## Show the release of the time zone database that Go embeds in the functions
	@echo "$$(go env GOVERSION) embeds tzdata $$(sed -n 's/^DATA=//p' "$$(go env GOROOT)/lib/time/update.bash")"

clean: ## Remove what was built and what the local cloud keeps
	rm -rf .build .local .aws-sam
