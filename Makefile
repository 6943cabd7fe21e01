# What developers and CI run. `make check` is what CI runs, except for the tools it installs first.

GO ?= go
GOLANGCI ?= golangci-lint
# Packages with goroutines of their own: the race detector runs over these in CI. The harness as a whole is left out: its tests
# count what a server does in a given time.
RACE ?= ./storage ./raftfsm/raftlog ./raftfsm/transport ./node/... ./api/... ./push/... ./bench/client ./bench/cluster ./bench/crash ./bench/history ./bench/load ./bench/mesh ./bench/workload
FUZZTIME ?= 30s

.PHONY: build check format vet lint layers test race browser fuzz bench soak soak-short survive-short

build:
	$(GO) build -trimpath -o trellis ./cmd/trellis

check: format build vet lint layers test race soak-short survive-short

format:
	@unformatted="$$(gofmt -l .)"; if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi

vet:
	$(GO) vet ./...

lint:
	$(GOLANGCI) run --allow-parallel-runners ./...

layers:
	$(GO) test -run 'TestLayers|TestPackageComments' ./cmd/trellis

test:
	$(GO) test ./...

race:
	$(GO) test -race -short -timeout 12m $(RACE)

# The HTML pages in a real browser, without a screen: wants chromium, chromium-browser or google-chrome in the path (Debian:
# apt-get install chromium). `go test ./...` leaves it out.
browser:
	$(GO) vet -tags browser ./api/pages
	$(GO) test -tags browser -run TestBrowser -count 1 -timeout 15m ./api/pages

# Every fuzz target for FUZZTIME each.
fuzz:
	.ci/fuzz $(FUZZTIME)

bench:
	$(GO) run ./bench run

# Faults strike a cluster of three for hours; SOAK adds flags, such as SOAK=--netns for faults of the network (as root).
soak:
	$(GO) run ./bench soak --schedules 100 $(SOAK)

# Some minutes of it, as CI runs it: with time enough for a machine that does much else.
soak-short:
	$(GO) run ./bench soak --schedules 10 --duration 12s --ready 2m --agree 2m $(SOAK)

# Background work of a cluster whose leader is killed, small; without what has to be downloaded.
survive-short:
	$(GO) run ./bench survive --works counters,feed,clear,broadcast,apns --counts 10000 --followers 3000 --entities 40000 --devices 20000 --every 1s --down 1s --ready 2m
