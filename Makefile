# Every target is something a person could type; "make help" lists them.

RACE := $(if $(shell command -v gcc),-race)
ROOT := $(filter 0,$(shell id -u))
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)

.PHONY: help build test lint unit integration vm vm-reloads vm-sync vm-systemd fuzz demo lab bench-failover bench-vrrp bench-reload bench-check bench-sync clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

build: ## the static binary, bin/hadirector
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/hadirector ./cmd/hadirector

test: ## everything below, up to vm (installs what it needs when run as root)
	@if lab/deps; then \
		$(MAKE) --no-print-directory --keep-going lint unit integration vm; \
	else \
		$(MAKE) --no-print-directory --keep-going lint unit; \
		echo "FAIL: integration and vm were not run: packages are missing, see above" >&2; exit 1; \
	fi

lint: ## gofmt, go vet, staticcheck, go mod tidy
	@files=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$files" ] || { echo "gofmt -w $$files" >&2; exit 1; }
	go vet ./...
	go vet -tags integration,ipvs,systemd,long ./...
	go tool staticcheck -tags integration,ipvs,systemd,long ./...
	go mod tidy -diff

# In a bubble of testing/synctest two threads may run timers at once, with one state of the
# race detector between them, and it crashes (golang/go#78156). On one processor they cannot.
BUBBLED = $(shell go list -f '{{range .TestImports}}{{if eq . "testing/synctest"}}{{$$.ImportPath}} {{end}}{{end}}{{range .XTestImports}}{{if eq . "testing/synctest"}}{{$$.ImportPath}} {{end}}{{end}}' ./...)

# Else the race detector lets each package's tests sleep for a second at their end.
GORACE = GORACE=atexit_sleep_ms=0

unit: ## the tests that need nothing, and each fuzz target's seeds
	$(GORACE) go test $(RACE) -shuffle=on $(filter-out $(BUBBLED),$(shell go list ./...))
	$(GORACE) go test $(RACE) -shuffle=on -cpu 1 $(BUBBLED)

integration: ## the tests in network namespaces: root's here, else in the virtual machine
	go run ./lab/runtests -tag integration $(if $(ROOT),$(RACE),-vm)

vm: ## the tests with real IPVS, in a virtual machine
	go run ./lab/runtests -tag ipvs -vm -timeout 20m

vm-reloads: ## 50 random reloads with 1000 open connections, in a virtual machine
	go run ./lab/runtests -tag ipvs -vm -full -timeout 30m -run TestReloadsBreakNoConnection ./internal/e2e

vm-sync: ## connection sync among strangers, over a bad network and through crashes, in a virtual machine
	go run ./lab/runtests -tag ipvs,long -vm -timeout 30m

vm-systemd: build ## the unit files under a live systemd, in a virtual machine of their own
	go run ./lab/runtests -tag ipvs,systemd -vm

fuzz: ## ten seconds of each fuzz target
	@git grep -l '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u | while read -r dir; do \
		for target in $$(go test -list '^Fuzz' ./$$dir | grep '^Fuzz'); do \
			echo "$$dir $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime 10s ./$$dir || exit 1; \
		done; \
	done

demo: ## a failover as clients see it, in two minutes, with a verdict
	@lab/deps
	@$(MAKE) --no-print-directory build
	@go build -o bin/lab ./lab && bin/lab demo

lab: ## a shell on two directors and two real servers
	@lab/deps
	@$(MAKE) --no-print-directory build
	@go build -o bin/lab ./lab && bin/lab shell

BENCH = @lab/deps && $(MAKE) --no-print-directory build && go build -o bin/lab ./lab && bin/lab

bench-failover: ## as root: what clients see of a failover, beside keepalived; FLAGS="-rounds 9 -intervals 100ms"
	$(BENCH) bench-failover $(FLAGS)

bench-vrrp: ## as root: what 255 virtual routers cost, beside keepalived; FLAGS="-busy 10m"
	$(BENCH) bench-vrrp $(FLAGS)

bench-reload: ## start, reload and a dead real server with long tables, beside keepalived; FLAGS="-unchecked -alone -sizes 10000x2"
	$(BENCH) bench-reload $(FLAGS)

bench-check: ## what checks of 1000 and 10000 real servers cost, beside keepalived; FLAGS="-servers 1000 -intervals 1s -types tcp"
	$(BENCH) bench-check $(FLAGS)

bench-sync: ## connections when a Master goes and comes back, beside keepalived; FLAGS="-scenarios standby -connections 100"
	$(BENCH) bench-sync $(FLAGS)

clean: ## what the targets above left in this folder
	rm -rf bin lab/out
