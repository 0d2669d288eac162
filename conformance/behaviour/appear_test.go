package behaviour

import (
	"fmt"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
)

const (
	appearances    = 100
	fewAppearances = 25
	// How long a route may take at the very most, before the test gives up.
	appearLimit = 20 * time.Second
)

var _ = promised(TestRouteAppearsWhole, everyChange,
	"A route with a rule whose Service is missing appears and goes as a whole, 2 × 100 times (at every change 2 × 25): 404, 200, 404, nothing else.")

// A route has a second rule to a Service that does not exist. It must be served whole or not at all: 404, then 200 for
// its first rule and 500 for the second, and nothing else in between.
func TestRouteAppearsWhole(t *testing.T) {
	s := begin(t, "appear")
	pods := s.backends("a")
	address := s.gateway("gw", 1)

	s.part("the Service is there before", func(s *stage) {
		s.appear(address, func(i int) (string, string) {
			name := fmt.Sprintf("before-%d", i)
			return name, twoRules(name, s.namespace, "a")
		})
	})
	// Routes, Services and EndpointSlices reach the controller on different streams, in any order.
	s.part("the Service is written just before", func(s *stage) {
		s.appear(address, func(i int) (string, string) {
			name := fmt.Sprintf("with-%d", i)
			return name, serviceAt(name, s.namespace, podIP(pods["a"])) + twoRules(name, s.namespace, name)
		})
	})
}

func (s *stage) appear(address string, objects func(i int) (name, text string)) {
	var took, gone []time.Duration
	faults := 0
	for i := range rounds(fewAppearances, appearances) {
		name, text := objects(i)
		path := "/" + name
		start := time.Now()
		// All of it is written while the path is asked for.
		written := make(chan error, 1)
		go func() { written <- cluster.Create(s.ctx, text) }()
		at, others := s.reach(address, load.Request{Host: "x", Path: path}, 404, 200, appearLimit)
		s.must(<-written)
		took = append(took, at.Sub(start))
		faults += s.count("404 to 200", i, others)
		_, others = s.reach(address, load.Request{Host: "x", Path: path + "/missing"}, 500, 500, appearLimit)
		faults += s.count("the rule without a Service", i, others)
		// It stays so.
		for range 5 {
			_, others = s.reach(address, load.Request{Host: "x", Path: path}, 200, 200, appearLimit)
			faults += s.count("200", i, others)
		}
	}
	for i := range rounds(fewAppearances, appearances) {
		name, _ := objects(i)
		start := time.Now()
		s.must(cluster.Delete(s.ctx, "HTTPRoute", s.namespace, name))
		at, others := s.reach(address, load.Request{Host: "x", Path: "/" + name}, 200, 404, appearLimit)
		gone = append(gone, at.Sub(start))
		faults += s.count("200 to 404", i, others)
	}
	s.figure("routes", float64(rounds(fewAppearances, appearances)), "", nil)
	s.figure("other answers", float64(faults), "", record.AtMost(0))
	s.spread("written to served", took)
	s.spread("deleted to gone", gone)
}

func (s *stage) count(what string, i int, others []string) int {
	s.Helper()
	if len(others) > 0 {
		s.Logf("route %d, %s: %d other answers, first: %s", i, what, len(others), others[0])
	}
	return len(others)
}

// spread records mean and maximum.
func (s *stage) spread(name string, took []time.Duration) {
	s.Helper()
	var sum, most time.Duration
	for _, d := range took {
		sum += d
		most = max(most, d)
	}
	s.figure(name+", mean", milliseconds(sum/time.Duration(len(took))), "ms", nil)
	s.figure(name+", max", milliseconds(most), "ms", nil)
}

// twoRules is a route whose path is its name.
func twoRules(name, namespace, service string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  parentRefs: [{name: gw}]
  rules:
  - matches: [{path: {type: Exact, value: /%[1]s}}]
    backendRefs: [{name: %[3]s, port: 8080}]
  - matches: [{path: {type: Exact, value: /%[1]s/missing}}]
    backendRefs: [{name: never-there, port: 8080}]
---
`, name, namespace, service)
}

// serviceAt is a Service without selector, and where it leads.
func serviceAt(name, namespace string, addresses ...string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: %[2]s}
spec: {clusterIP: None, ports: [{name: one, port: 8080}]}
---
%[3]s`, name, namespace, sliceAt(name, namespace, addresses...))
}

func sliceAt(name, namespace string, addresses ...string) string {
	text := fmt.Sprintf(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s, namespace: %[2]s, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [{name: one, port: 8080, protocol: TCP}]
endpoints:
`, name, namespace)
	for _, address := range addresses {
		text += fmt.Sprintf("- {addresses: [%q], conditions: {ready: true}}\n", address)
	}
	return text + "---\n"
}
