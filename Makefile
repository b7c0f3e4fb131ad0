# Everything starts here. `make help` says what there is.
#
# A target installs what it needs and the machine lacks (Debian packages, by
# apt-get, as root or through sudo); where nothing is missing it asks for
# nothing.

GO    ?= go
CUBE  := $(CURDIR)/bin/cube
FLAGS := -trimpath -buildvcs=false -ldflags='-s -w'

# The longest that one package's tests may take.
TIMEOUT ?= 20m

.PHONY: help build demo test bench soak lint clean peers

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

build: ## bin/cube, with cube-worker and cube-node inside
	@.ci/install gcc g++ git ca-certificates
	@.ci/go $(GO)
	@mkdir -p bin
	CGO_ENABLED=0 .ci/compile $(GO) build -v $(FLAGS) -o bin/ ./cmd/cube-worker ./cmd/cube-node
	@printf '{"Replace": {"%s": "%s", "%s": "%s"}}\n' \
		containers/native/worker/bin/cube-worker bin/cube-worker containers/native/worker/bin/cube-node bin/cube-node >bin/overlay.json.new
	@mv bin/overlay.json.new bin/overlay.json
	CGO_ENABLED=1 .ci/compile $(GO) build -v $(FLAGS) -overlay bin/overlay.json -o bin/cube ./cmd/cube

demo: build ## build the example of examples/rockies and draw its slope
	cd examples/rockies && "$(CUBE)" build slope aspect hillshade terrain_class
	cd examples/rockies && "$(CUBE)" ls
	cd examples/rockies && "$(CUBE)" plot slope -o slope.png
	@echo "the slope of Rocky Mountain National Park: examples/rockies/slope.png"

test: peers build ## all tests, with the short forms of the long ones
	$(GO) vet ./...
	CUBE_BIN="$(CUBE)" $(GO) test -timeout $(TIMEOUT) ./...

peers:
	@.ci/install python3 python3-venv python3-pip gdal-bin apt-utils

bench: build ## cube beside the programs that it is measured against; BENCH='-update BENCHMARKS.md' keeps it
	@.ci/install python3 python3-venv python3-pip bubblewrap docker.io ninja-build bazel-bootstrap openssl
	$(GO) build -o bin/bench ./tests/bench
	CUBE_BIN="$(CUBE)" bin/bench $(BENCH)

soak: peers build ## the long forms of the crash, load and fuzz tests
	CUBE_SOAK=1 CUBE_BIN="$(CUBE)" $(GO) test -timeout 6h ./...
	.ci/fuzz 60s

lint: ## gofmt, go vet and staticcheck
	@.ci/install gcc g++ git
	@.ci/go $(GO)
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "not gofmt'ed:"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@for mod in $$(git ls-files 'examples/*/go.mod'); do (cd $$(dirname $$mod) && $(GO) vet ./...) || exit 1; done

clean: ## remove what was built here; the user's cache stays
	rm -rf bin examples/*/.cube examples/*/cube.lock examples/*/*.png
