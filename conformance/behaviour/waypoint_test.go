package behaviour

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

const (
	// From a namespace's first route to its being enforced: a waypoint has to start.
	appearsWithin = 30 * time.Second
	// From a route to its being enforced where the waypoint is there.
	enforcedWithin = 2 * time.Second
	// How long clients see of waypoints that were killed: that long nothing may pass them by.
	killing = 6 * time.Second
)

var _ = promised(TestWaypointAppears, everyChange,
	"A namespace's first route on a Service, a second, and the end of the last: 0 faults on kept and new connections; enforced within 30 s, the second within 2 s.")

// The first route of a namespace: a waypoint appears, and no request fails before, while and after traffic moves to it.
// Its last: traffic moves back, and no request fails either.
func TestWaypointAppears(t *testing.T) {
	s := beginBeside(t, "appears")
	s.meshed()
	pods := s.backends("client", "a")
	dial, address := s.from(pods["client"]), s.serviceAddress("a", 8080)
	s.variant(dial, address, "", ample)
	loads := s.meshLoads(dial, address, nil)
	loads.carry(s, 2*time.Second)
	s.apply(serviceRoute("HTTPRoute", "first", s.namespace, "name: a", "routed", "name: a"))
	took := s.variant(dial, address, "routed", ample)
	s.figure("written to enforced, the namespace's first route", took.Seconds(), "s", record.AtMost(appearsWithin.Seconds()))

	gateway := s.namespace + "/waypoint"
	s.says("HTTPRoute", "first", "fairway.dev/Enforced", "True", gateway)
	s.says("Service", "a", "fairway.dev/ThroughWaypoint", "True", gateway)
	s.says("Gateway", "waypoint", "fairway.dev/Bound", "True", "")
	s.says("Gateway", "waypoint", "Programmed", "True", "")
	s.rolledOut(s.namespace, "waypoint-fairway-waypoint")
	replicas := s.proxies("waypoint")
	s.figure("replicas", float64(len(replicas)), "", record.AtLeast(2))
	s.figure("nodes they are on", float64(len(nodesOf(replicas))), "", record.AtLeast(2))
	if s.get("PodDisruptionBudget", "waypoint-fairway-waypoint") == nil {
		s.Error("it has no PodDisruptionBudget")
	}

	s.part("a second route", func(s *stage) {
		s.apply(serviceRoute("HTTPRoute", "second", s.namespace, "name: client", "second", "name: client"))
		took := s.variant(dial, s.serviceAddress("client", 8080), "second", ample)
		s.figure("written to enforced", took.Seconds(), "s", record.AtMost(enforcedWithin.Seconds()))
	})
	s.part("the last route goes", func(s *stage) {
		s.must(cluster.Delete(s.ctx, "HTTPRoute", s.namespace, "first"))
		s.variant(dial, address, "", ample)
		loads.carry(s, 3*time.Second)
	})
	loads.end(s)
}

var _ = promised(TestWaypointFailsClosed, everyChange,
	"With all replicas of a waypoint killed, what is bound to it is refused within 2 s, and 0 requests pass it by.")

// All replicas of a waypoint are killed: what is bound to it is refused and never bypassed. At a pod's own address a Service
// that requires its waypoint is refused, one that does not is not.
func TestWaypointFailsClosed(t *testing.T) {
	s := beginBeside(t, "closed")
	s.meshed()
	pods := s.backends("client", "a", "b")
	dial, address := s.from(pods["client"]), s.serviceAddress("a", 8080)
	s.apply(serviceRoute("HTTPRoute", "a", s.namespace, "name: a", "routed", "name: a"))
	s.variant(dial, address, "routed", ample)
	s.rolledOut(s.namespace, "waypoint-fairway-waypoint")

	s.part("killed", func(s *stage) {
		var bypassed atomic.Int64
		loads := s.meshLoads(dial, address, wantRouted("routed", &bypassed))
		loads.carry(s, time.Second)
		end := time.Now().Add(killing)
		for time.Now().Before(end) {
			for _, pod := range s.proxies("waypoint") {
				// One that is not up again has nothing to kill.
				if process, err := scene.ProcessOf(pod, "fairway-waypoint"); err == nil {
					s.must(process.Kill())
				}
			}
			s.watch(100 * time.Millisecond)
		}
		refused := 0
		for name, run := range loads {
			result := run.Stop()
			s.Logf("%s: %s", name, result)
			refused += len(result.Faults)
		}
		s.figure("requests that went around it", float64(bypassed.Load()), "", record.AtMost(0))
		s.figure("requests refused meanwhile", float64(refused), "", record.AtLeast(1))
		took := s.variant(dial, address, "routed", ample)
		s.figure("back after", took.Seconds(), "s", nil)
	})
	s.part("a pod's own address", func(s *stage) {
		at := func(name string) string { return net.JoinHostPort(podIP(pods[name]), "8080") }
		answer, err := s.ask(dial, at("b"), "/")
		if err != nil || answer.Status != 200 {
			s.Fatalf("without the label: %d, %v", answer.Status, err)
		}
		s.must(s.patch("Service", s.namespace, "b", `{"metadata":{"labels":{"fairway.dev/waypoint":"required"}}}`))
		took := s.until(ample, "the pod to refuse what does not come through the waypoint", func() (string, error) {
			answer, err := s.ask(dial, at("b"), "/")
			return missing(err != nil, fmt.Sprintf("status %d", answer.Status)), nil
		})
		s.figure("labelled to refused", took.Seconds(), "s", record.AtMost(enforcedWithin.Seconds()))
		s.variant(dial, s.serviceAddress("b", 8080), "", ample)
		if answer, err := s.ask(dial, at("a"), "/"); err != nil || answer.Status != 200 {
			s.Errorf("another Service's pod: %d, %v", answer.Status, err)
		}
		s.must(s.patch("Service", s.namespace, "b", `{"metadata":{"labels":{"fairway.dev/waypoint":null}}}`))
		s.until(ample, "the pod to be reached again", func() (string, error) {
			answer, err := s.ask(dial, at("b"), "/")
			return missing(err == nil && answer.Status == 200, fmt.Sprintf("status %d, %v", answer.Status, err)), nil
		})
	})
}

var _ = promised(TestWaypointGoes, beforeRelease,
	"A waypoint that nothing needs goes after `mesh.waypointLinger`, with 0 faults.")

// A waypoint that nothing needs any more goes after a while, and nobody feels it.
func TestWaypointGoes(t *testing.T) {
	const linger = 5 * time.Second
	s := begin(t, "goes")
	s.installedWith("mesh.waypointLinger=" + linger.String())
	s.meshed()
	pods := s.backends("client", "a")
	dial, address := s.from(pods["client"]), s.serviceAddress("a", 8080)
	s.apply(serviceRoute("HTTPRoute", "a", s.namespace, "name: a", "routed", "name: a"))
	s.variant(dial, address, "routed", ample)
	loads := s.meshLoads(dial, address, nil)
	loads.carry(s, time.Second)
	start := time.Now()
	s.must(cluster.Delete(s.ctx, "HTTPRoute", s.namespace, "a"))
	s.until(ample, "the waypoint to go", func() (string, error) {
		gateway, err := cluster.Get(s.ctx, "Gateway", s.namespace, "waypoint")
		return missing(gateway == nil, "it is there"), err
	})
	took := time.Since(start)
	s.figure("unneeded to gone", took.Seconds(), "s", record.Between(linger.Seconds(), linger.Seconds()+5))
	s.until(ample, "its pods to go", func() (string, error) {
		left := len(s.proxies("waypoint"))
		return missing(left == 0, fmt.Sprintf("%d are left", left)), nil
	})
	loads.end(s)
}

var _ = promised(TestConsumerRoute, everyChange,
	"A consumer's route holds for clients of its own namespace only; when its waypoint is deleted, 0 requests pass it by.")

// A consumer's route is for clients of its own namespace.
func TestConsumerRoute(t *testing.T) {
	s := beginBeside(t, "producer")
	s.meshed()
	consumer := s.namespace + "-consumer"
	s.makeNamespace(consumer)
	pods := s.backends("client", "a")
	there := &stage{T: s.T, ctx: s.ctx, namespace: consumer, start: s.start}
	there.meshed()
	theirs := there.backends("client")
	address := s.serviceAddress("a", 8080)
	own, other := s.from(pods["client"]), s.from(theirs["client"])
	s.variant(own, address, "", ample)
	s.variant(other, address, "", ample)
	ownLoads, otherLoads := s.meshLoads(own, address, nil), s.meshLoads(other, address, nil)
	ownLoads.carry(s, time.Second)
	otherLoads.carry(s, time.Second)
	s.apply(serviceRoute("HTTPRoute", "theirs", consumer, "name: a, namespace: "+s.namespace, "consumer", "name: a, namespace: "+s.namespace))
	took := s.variant(other, address, "consumer", ample)
	s.figure("written to enforced, the namespace's first route", took.Seconds(), "s", record.AtMost(appearsWithin.Seconds()))
	s.variant(own, address, "", time.Second)
	// One set of routes holds, never both (GEP-1294).
	s.apply(serviceRoute("HTTPRoute", "ours", s.namespace, "name: a", "producer", "name: a"))
	s.variant(own, address, "producer", ample)
	s.variant(other, address, "consumer", time.Second)
	ownLoads.end(s)
	otherLoads.end(s)
	there.part("its waypoint's Gateway deleted, none goes around it", func(s *stage) {
		var bypassed atomic.Int64
		loads := s.meshLoads(other, address, wantRouted("consumer", &bypassed))
		loads.carry(s, time.Second)
		old := s.proxies("waypoint")
		start := time.Now()
		s.must(cluster.Delete(s.ctx, "Gateway", consumer, "waypoint"))
		s.until(ample, "its pods to go", func() (string, error) {
			left := 0
			for _, pod := range old {
				it, err := cluster.Get(s.ctx, "Pod", consumer, pod.GetName())
				if err != nil {
					return "", err
				}
				if it != nil {
					left++
				}
			}
			return missing(left == 0, fmt.Sprintf("%d are left", left)), nil
		})
		s.says("HTTPRoute", "theirs", "fairway.dev/Enforced", "True", "")
		s.figure("deleted to enforced by another", time.Since(start).Seconds(), "s", nil)
		s.variant(other, address, "consumer", ample)
		for name, run := range loads {
			s.Logf("%s: %s", name, run.Stop())
		}
		s.figure("requests that went around it", float64(bypassed.Load()), "", record.AtMost(0))
	})
	s.must(cluster.Delete(s.ctx, "HTTPRoute", consumer, "theirs"))
	s.variant(other, address, "producer", ample)
}

var _ = promised(TestOneRouteTypePerPort, beforeRelease,
	"Of several types of routes on one port of a Service one holds, and the others' status says which.")

// Of several types of routes on a Service's port one holds, and the others say which.
func TestOneRouteTypePerPort(t *testing.T) {
	s := begin(t, "types")
	s.meshed()
	pods := s.backends("client", "a")
	dial, address := s.from(pods["client"]), s.serviceAddress("a", 8080)
	s.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: tcp, namespace: NAMESPACE}
spec:
  parentRefs: [{group: "", kind: Service, name: a}]
  rules: [{backendRefs: [{name: client, port: 8080}]}]
`)
	s.until(ample, "the TCPRoute to carry connections", func() (string, error) {
		answer, err := s.ask(dial, address, "/")
		return missing(err == nil && answer.Header.Get("pod") == "client", fmt.Sprintf("%v %v", answer.Header, err)), nil
	})
	s.apply(serviceRoute("HTTPRoute", "http", s.namespace, "name: a, port: 8080", "routed", "name: a"))
	s.variant(dial, address, "routed", ample)
	s.says("TCPRoute", "tcp", "Accepted", "True", "HTTPRoute "+s.namespace+"/http")
	answer, err := s.ask(dial, s.serviceAddress("a", 8081), "/")
	if err != nil || answer.Header.Get("pod") != "client" {
		s.Errorf("port 8081 is the TCPRoute's still: %v %v", answer.Header, err)
	}
	s.must(cluster.Delete(s.ctx, "TCPRoute", s.namespace, "tcp"))
	s.apply(serviceRoute("GRPCRoute", "grpc", s.namespace, "name: a, port: 8080", "grpc", "name: a"))
	s.says("HTTPRoute", "http", "Accepted", "False", "GRPCRoute "+s.namespace+"/grpc")
}

var _ = promised(TestGatewayIntoTheMesh, everyChange,
	"What a Gateway sends to the mesh is in mTLS and passes the Gateway's routes only; a Service that requires its waypoint is reached through it.")

// What a Gateway sends to backends in the mesh is in tunnels, and passes no routes of their Service; only a Service that
// requires its waypoint is reached through that.
func TestGatewayIntoTheMesh(t *testing.T) {
	s := beginBeside(t, "inward")
	s.meshed()
	pods := s.backends("a")
	// One on each node, so that something of it passes the one that is looked at.
	address := s.gateway("gw", 2)
	s.apply(route("outside", s.namespace, "gw", "/", "a"))
	s.apply(serviceRoute("HTTPRoute", "inside", s.namespace, "name: a", "inside", "name: a"))
	s.says("HTTPRoute", "inside", "fairway.dev/Enforced", "True", "")
	s.servedByAll(address, 2)
	tap := s.tap(append(s.proxies("gw"), pods["a"])...)
	for range 20 {
		answer, err := s.ask(nil, address, "/")
		if err != nil || answer.Status != 200 || answer.Header.Get("variant") != "" {
			s.Errorf("through the Gateway: status %d, variant %q, %v", answer.Status, answer.Header.Get("variant"), err)
		}
	}
	s.onlyTunnels(tap)
	s.must(s.patch("Service", s.namespace, "a", `{"metadata":{"labels":{"fairway.dev/waypoint":"required"}}}`))
	s.says("Service", "a", "fairway.dev/ThroughWaypoint", "True", "")
	s.until(ample, "its waypoint to let the Gateway's requests through", func() (string, error) {
		answer, err := s.ask(nil, address, "/")
		variant := answer.Header.Get("variant")
		return missing(err == nil && answer.Status == 200 && variant == "", fmt.Sprintf("status %d, variant %q, %v", answer.Status, variant, err)), nil
	})
}

// wantRouted counts the answers that did not pass the route that sets this variant.
func wantRouted(variant string, bypassed *atomic.Int64) func(load.Request, load.Answer) error {
	return func(request load.Request, answer load.Answer) error {
		if answer.Status == 200 && answer.Header.Get("variant") != variant {
			bypassed.Add(1)
			return errBypassed
		}
		return load.WantOK(request, answer)
	}
}
