package behaviour

import (
	"slices"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
)

const (
	latencyRate        = 500
	latencyConnections = 16
	latencyRounds      = 3
	latencyTime        = 8 * time.Second
)

var _ = promised(TestMeshLatency, beforeRelease,
	"500 requests a second between two nodes, outside the mesh, through the tunnels and through a waypoint: 0 faults; p50 and p99 are recorded.")

// What the mesh costs a request between pods on two nodes: outside the mesh, through both tunnels, and through a waypoint
// between them. In turns, so that a busy machine is unfair to all of them alike.
func TestMeshLatency(t *testing.T) {
	s := begin(t, "latency")
	nodes := s.nodes()
	s.meshed()
	s.pod("out", nodes[0], ", fairway.dev/mesh: disabled", "", "")
	s.pod("plain", nodes[1], ", fairway.dev/mesh: disabled", "", "")
	s.pod("in", nodes[0], "", "", "")
	s.pod("tunnelled", nodes[1], "", "", "")
	s.pod("routed", nodes[1], "", "", "")
	s.ready("out", "plain", "in", "tunnelled", "routed")
	s.captured("in", "tunnelled", "routed")
	s.apply(serviceRoute("HTTPRoute", "routed", s.namespace, "name: routed", "routed", "name: routed"))
	s.says("HTTPRoute", "routed", "fairway.dev/Enforced", "True", "")

	ways := []struct{ name, client, server string }{
		{"outside the mesh", "out", "plain"},
		{"through the tunnels", "in", "tunnelled"},
		{"through a waypoint", "in", "routed"},
	}
	medians, p99s := make([][]time.Duration, len(ways)), make([][]time.Duration, len(ways))
	for range latencyRounds {
		for i, way := range ways {
			c := s.requests(way.client, port(way.server, 8080), latencyRate, latencyConnections)
			s.watch(latencyTime)
			report := s.stop(c)
			s.Logf("%s: %s", way.name, report)
			s.figure(way.name+": faults", float64(len(report.Faults)), "", record.AtMost(0))
			medians[i], p99s[i] = append(medians[i], report.Median), append(p99s[i], report.P99)
		}
	}
	for i, way := range ways {
		s.figure(way.name+", p50", milliseconds(middle(medians[i])), "ms", nil)
		s.figure(way.name+", p99", milliseconds(middle(p99s[i])), "ms", nil)
	}
}

func middle(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
