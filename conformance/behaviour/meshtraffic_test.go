package behaviour

import (
	"fmt"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/peer"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
)

const (
	upgrades       = 5
	fewUpgrades    = 2
	upgradeStreams = 200
	upgradeRate    = 100
	shortOnes      = 10_000
	large          = 256 << 20
	// What a tunnel may have at rest, and with the pods and connections below.
	restMemory, busyMemory = 15, 25
	busyPods, busyStreams  = 50, 1000
)

var _ = promised(TestTunnelUpgrade, everyChange,
	"Five rolling restarts of the tunnels (at every change two) under 200 streams and 200 requests a second: no stream breaks, no request fails.")

// The tunnels are rolled again and again under streams that live through all of it, and requests: nothing breaks, nothing fails.
func TestTunnelUpgrade(t *testing.T) {
	s := begin(t, "upgrade")
	nodes := s.nodes()
	pods := s.meshedPair()
	tap := s.tap(pods...)
	kept := s.streams("client", port("server", 7002), upgradeStreams, 250*time.Millisecond)
	onKept := s.requests("client", port("server", 8080), upgradeRate, 8)
	onNew := s.requests("client", port("server", 8080), upgradeRate, 8, "-once")
	for i := range rounds(fewUpgrades, upgrades) {
		start := time.Now()
		s.restartTunnels()
		s.figure(fmt.Sprintf("restart %d", i+1), time.Since(start).Seconds(), "s", nil)
		s.watch(2 * time.Second)
	}
	report := s.stop(kept)
	s.Logf("streams: %s, %d words", report, report.Words)
	s.figure("streams that lived through it", float64(report.Done), "", record.AtLeast(upgradeStreams))
	s.figure("streams broken", float64(len(report.Faults)), "", record.AtMost(0))
	s.flawless("requests on kept connections", s.stop(onKept))
	s.flawless("requests on new connections", s.stop(onNew))
	s.onlyTunnels(tap)
	s.part("old tunnels end when their last connection does", func(s *stage) {
		took := s.until(time.Minute, "only one tunnel to be left on each node", func() (string, error) {
			all, err := cluster.List(s.ctx, "Pod", systemNamespace, ztunnelLabel)
			return missing(len(all) == len(nodes), fmt.Sprintf("there are %d", len(all))), err
		})
		s.figure("the last old tunnel gone after", took.Seconds(), "s", nil)
	})
}

var _ = promised(TestMeshTraffic, beforeRelease,
	"Servers that speak first, half-closes, 256 MiB each way, headless Services, StatefulSets, ExternalName, a pod that calls itself, 10,000 short connections, idle ones: 0 faults.")

// What pods say to one another arrives as it was said, whatever it is.
func TestMeshTraffic(t *testing.T) {
	s := begin(t, "traffic")
	nodes := s.nodes()
	s.meshed()
	s.pod("client", nodes[0], "", "", "")
	s.pod("near", nodes[0], "", "", "")
	s.pod("far", nodes[1], "", "", "")
	s.pod("outside", nodes[1], ", fairway.dev/mesh: disabled", "", "")
	s.apply(fmt.Sprintf(`
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: set, namespace: NAMESPACE}
spec:
  replicas: 2
  serviceName: set
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: set}}
  template:
    metadata: {labels: {app: set}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: backend, image: %s, imagePullPolicy: IfNotPresent}]
---
apiVersion: v1
kind: Service
metadata: {name: set, namespace: NAMESPACE}
spec: {clusterIP: None, selector: {app: set}, ports: [{name: echo, port: 7002}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: NAMESPACE}
spec: {type: ExternalName, externalName: far.%s.svc.cluster.local}
`, *image, s.namespace))
	pods := s.ready("client", "near", "far", "outside", "set-0", "set-1")
	s.captured("client", "near", "far", "set-0", "set-1")
	tap := s.tap(pods[0], pods[1], pods[2], pods[4], pods[5])
	for _, c := range []struct{ name, to, say string }{
		{"a server that speaks first, on the other node", port("far", 7001), peer.Greeting},
		{"a server that speaks first, on the same node", port("near", 7001), peer.Greeting},
		{"a half that ends first", port("far", 7003), peer.Digest},
		{"a pod by its address", port(podIP(pods[2]), 7002), peer.Echo},
		{"a pod of the same node by its address", port(podIP(pods[1]), 7002), peer.Echo},
		{"a headless Service", port("set", 7002), peer.Echo},
		{"a pod of a StatefulSet by its name", port("set-1.set", 7002), peer.Echo},
		{"an ExternalName", port("alias", 7002), peer.Echo},
		{"itself, through its Service", port("client", 7002), peer.Echo},
		{"itself, by its address", port(podIP(pods[0]), 7002), peer.Echo},
		{"itself, on loopback", port("127.0.0.1", 7002), peer.Echo},
	} {
		s.part(c.name, func(s *stage) { s.well(c.say, "client", c.to, c.say, "-times", "20", "-parallel", "4") })
	}
	s.part("large transfers", func(s *stage) {
		for _, c := range []struct {
			name string
			port int
			say  string
		}{{"to the server", 7003, peer.Digest}, {"from the server", 7004, peer.Source}, {"both ways at once", 7002, peer.Echo}} {
			report := s.well(c.name, "client", port("far", c.port), c.say, "-bytes", fmt.Sprint(large), "-timeout", "2m")
			s.figure(c.name, float64(large)/(1<<20)/report.Slowest.Seconds(), "MiB/s", nil)
		}
	})
	s.part("many short connections", func(s *stage) {
		report := s.well("short connections", "client", port("far", 7002), peer.Echo, "-times", fmt.Sprint(shortOnes), "-parallel", "16", "-bytes", "64")
		s.figure("short connections", float64(report.Done), "", record.AtLeast(shortOnes))
		s.figure("median", milliseconds(report.Median), "ms", nil)
		s.figure("p99", milliseconds(report.P99), "ms", nil)
	})
	s.onlyTunnels(tap)
	s.part("a pod outside the mesh, from within", func(s *stage) {
		s.well("echo", "client", port("outside", 7002), peer.Echo, "-times", "10")
	})
	s.part("a permissive pod, from outside the mesh", func(s *stage) {
		s.well("echo", "outside", port("far", 7002), peer.Echo, "-times", "10")
	})
	s.part("a strict pod, from outside the mesh", func(s *stage) {
		s.label("Pod", s.namespace, "far", "fairway.dev/mtls", "strict")
		s.until(joinLimit, "it to be refused", func() (string, error) {
			report := s.try("outside", port("far", 7002), peer.Echo)
			return missing(report.Done == 0, "it is let in"), nil
		})
		s.well("and from within", "client", port("far", 7002), peer.Echo, "-times", "10")
	})
	s.part("a connection that is idle for long", func(s *stage) {
		idle := s.streams("client", port("far", 7002), 2, 70*time.Second)
		s.watch(75 * time.Second)
		s.flawless("idle streams", s.stop(idle))
	})
}

var _ = promised(TestTunnelMemory, beforeRelease,
	"A tunnel has 15 MiB at rest, 25 MiB with 50 pods and 1,000 connections.")

// A tunnel's memory, at rest and with many pods and connections.
func TestTunnelMemory(t *testing.T) {
	s := begin(t, "memory")
	nodes := s.nodes()
	s.restartTunnels()
	s.watch(5 * time.Second)
	memory := func() float64 {
		memory, err := s.process(s.tunnels()[nodes[0]], ztunnelName).Memory()
		s.must(err)
		return memory.Resident
	}
	s.figure("resident at rest", memory(), "MiB", record.AtMost(restMemory))
	s.meshed()
	var names []string
	for i := range busyPods {
		name := fmt.Sprintf("p%d", i)
		names = append(names, name)
		s.pod(name, nodes[0], "", "", "")
	}
	s.pod("server", nodes[1], "", "", "")
	names = append(names, "server")
	s.ready(names...)
	s.captured(names...)
	s.figure(fmt.Sprintf("resident with %d pods", busyPods), memory(), "MiB", nil)
	const clients = 10
	var open []*client
	for i := range clients {
		open = append(open, s.streams(names[i], port("server", 7002), busyStreams/clients, time.Second))
	}
	s.watch(5 * time.Second)
	s.figure(fmt.Sprintf("resident with %d pods and %d connections", busyPods, busyStreams), memory(), "MiB", record.AtMost(busyMemory))
	var all peer.Report
	for _, c := range open {
		report := s.stop(c)
		all.Done, all.Faults = all.Done+report.Done, append(all.Faults, report.Faults...)
	}
	s.flawless("streams", all)
}
