# Thin: every target calls cargo or one script in hack/.

export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install demo run run-operator test test-valkey e2e check generate manifests interop alerts image compose-test bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Install what is missing: Rust, a C compiler, redis-server
	@hack/install.sh

demo: install ## See events delivered in order to four receivers, three of them in trouble (a minute)
	@hack/demo.sh

run-operator: install ## An operator against a local API server, left running to be tried
	@hack/run-operator.sh

run: install ## The same, left running for events of your own
	@hack/run.sh

test: install ## Run every test
	@hack/test.sh

test-valkey: install ## Run every test on Valkey instead of Redis
	@PATH="$$(hack/valkey.sh):$$PATH" hack/test.sh

e2e: install ## Install the chart into the cluster of KUBECONFIG, break it, and remove it (IMAGE=posthorn:dev must be there; ten minutes)
	@hack/e2e.sh

check: install ## Format, lints, generated files, documentation
	@hack/check.sh

generate: install ## Write the generated files again (CRD, ...)
	@cargo run --quiet --locked -- generate

manifests: ## Write the manifests again from the chart, after `make generate`
	@hack/manifests.sh

interop: install ## Send real payloads by the official SDKs and verify what arrives (needs Python, Node.js, network)
	@hack/interop.sh

alerts: ## Check the alerts by Prometheus' promtool (built by Go where there is none)
	@hack/alerts.sh

image: ## Build the container image (needs Docker or Podman)
	@hack/image.sh

compose-test: ## Kill the containers of compose.yaml under load and prove that nothing is lost (needs Docker)
	@hack/compose-test.sh

bench: install ## Measure it beside its ceilings (release build, ten minutes)
	@hack/bench.sh

clean: ## Remove everything that was built
	@cargo clean
