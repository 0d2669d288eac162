package behaviour

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

const (
	restartRate        = 200
	restartConnections = 16
	// From the kill of the leader to the first answer of a route written right after: the Lease's 15 s, of which the other replica
	// sees the last renewal up to 1.9 s late, and looks every 1.9 s; and a little.
	failoverLimit = 20 * time.Second
	// From the kill of a proxy to it being ready again, without a controller.
	aloneLimit = 30 * time.Second
)

var _ = promised(TestRollingRestart, everyChange,
	"Proxies, controllers, and both at once (at every change only that) are restarted under kept and new connections, slow requests and streams: 0 faults.")

// Everything is restarted under load: kept connections, new connections, and requests that take a second.
func TestRollingRestart(t *testing.T) {
	s := begin(t, "restart")
	address := s.servedGateway(2)
	cases := []struct {
		name string
		do   func(*stage)
	}{
		{"proxies", func(s *stage) { s.restart(s.namespace, "gw-fairway") }},
		{"controller", func(s *stage) { s.restart(systemNamespace, controllerName) }},
		{"both", func(s *stage) {
			s.startRestart(systemNamespace, controllerName)
			s.restart(s.namespace, "gw-fairway")
			s.rolledOut(systemNamespace, controllerName)
		}},
	}
	// At every change only the last, which has the others in it.
	for _, c := range cases[len(cases)-rounds(1, len(cases)):] {
		s.part(c.name, func(s *stage) {
			loads := s.allLoads(address)
			loads.carry(s, time.Second)
			start := time.Now()
			c.do(s)
			s.figure("restarted in", time.Since(start).Seconds(), "s", nil)
			// Pods that ended go on with what they had; all of that is under load, too.
			loads.carry(s, 8*time.Second)
			loads.end(s)
			s.written(address, "after-"+c.name)
		})
	}
}

var _ = promised(TestLeaderKilled, beforeRelease,
	"The leading controller is killed: 0 faults, and another leads within 20 s (the Lease is 15 s).")

// The leader is killed: the proxies go on, and the other replica takes over.
func TestLeaderKilled(t *testing.T) {
	s := begin(t, "leader")
	address := s.servedGateway(1)
	loads := s.allLoads(address)
	loads.carry(s, time.Second)
	const times = 2
	var served []time.Duration
	for i := range times {
		name := s.leader()
		pod, err := cluster.Get(s.ctx, "Pod", systemNamespace, name)
		s.must(err)
		if pod == nil {
			s.Fatalf("the leader is %q, and there is no such pod", name)
		}
		process := s.process(pod, controllerName)
		start := time.Now()
		s.must(process.Kill())
		at := s.written(address, fmt.Sprintf("after-kill-%d", i))
		served = append(served, at.Sub(start))
		s.Logf("%s was killed; after %.1f s %s leads, and a new route is served", name, at.Sub(start).Seconds(), s.leader())
		s.rolledOut(systemNamespace, controllerName)
	}
	loads.end(s)
	s.spread("leader killed to a new route served", served)
	for _, d := range served {
		if d > failoverLimit {
			s.Errorf("a new route was served after %s, want %s at most", d, failoverLimit)
		}
	}
}

var _ = promised(TestWithoutController, beforeRelease,
	"Without any controller traffic goes on, also through a proxy that is killed and starts again.")

// No controller is left: traffic goes on, also through a proxy that is killed and starts again.
func TestWithoutController(t *testing.T) {
	s := begin(t, "alone")
	address := s.servedGateway(1)
	replicas := s.scale(systemNamespace, controllerName, 0)
	s.Cleanup(func() {
		back := &stage{T: s.T, ctx: context.Background(), namespace: s.namespace}
		back.scale(systemNamespace, controllerName, replicas)
		back.rolledOut(systemNamespace, controllerName)
	})
	s.until(ample, "the controllers to go", func() (string, error) {
		pods, err := cluster.List(s.ctx, "Pod", systemNamespace, controllerLabel)
		return missing(len(pods) == 0, fmt.Sprintf("%d pods are left", len(pods))), err
	})
	s.part("traffic goes on", func(s *stage) {
		loads := s.allLoads(address)
		loads.carry(s, 10*time.Second)
		loads.end(s)
	})
	s.part("a killed proxy starts with its last good state", func(s *stage) {
		proxy := s.proxies("gw")[0]
		process := s.process(proxy, "fairway-waypoint")
		start := time.Now()
		s.must(process.Kill())
		s.until(aloneLimit, "the proxy to answer again", func() (string, error) {
			conn := load.NewConnection(address, nil)
			defer conn.Close()
			answer, err := conn.Do(s.ctx, load.Request{Host: "x", Path: "/"})
			return missing(answer.Status == 200, fmt.Sprintf("status %d", answer.Status)), err
		})
		s.figure("killed to serving again", time.Since(start).Seconds(), "s", record.AtMost(aloneLimit.Seconds()))
		loads := s.allLoads(address)
		loads.carry(s, 5*time.Second)
		loads.end(s)
	})
	s.part("endpoints that went are gone from nowhere but the proxies", func(s *stage) {
		// Nobody told the proxies, so one of two backends is dead; passive health must find the other.
		s.must(cluster.Delete(s.ctx, "Pod", s.namespace, "b"))
		s.until(ample, "the backend to go", func() (string, error) {
			pod, err := cluster.Get(s.ctx, "Pod", s.namespace, "b")
			return missing(pod == nil, "it is still there"), err
		})
		run := load.Start(s.ctx, load.Plan{Address: address, Rate: restartRate, Connections: restartConnections, Request: load.Always(load.Request{Host: "x", Path: "/"})})
		s.carry(5*time.Second, run)
		result := run.Stop()
		s.Logf("%s", result)
		s.figure("faults with a backend dead and nobody to say so", float64(len(result.Faults)), "", nil)
	})
	s.scale(systemNamespace, controllerName, replicas)
	s.rolledOut(systemNamespace, controllerName)
	s.part("a controller is back", func(s *stage) { s.written(address, "back") })
}

// servedGateway with two backends and a route for all.
func (s *stage) servedGateway(proxies int) (address string) {
	s.Helper()
	s.backends("a", "b")
	address = s.gateway("gw", proxies)
	s.apply(route("all", s.namespace, "gw", "/", "backend"))
	s.reach(address, load.Request{Host: "x", Path: "/"}, 404, 200, appearLimit)
	s.servedByAll(address, proxies)
	return address
}

// servedByAll waits until so many proxies behind an address have its route: one is some milliseconds ahead of the other.
func (s *stage) servedByAll(address string, proxies int) {
	s.Helper()
	inARow := 0
	s.until(ample, "every proxy to have the route", func() (string, error) {
		answer, err := s.ask(nil, address, "/")
		if inARow++; err != nil || answer.Status != 200 {
			inARow = 0
		}
		return missing(inARow == 5*proxies, fmt.Sprintf("status %d, %v", answer.Status, err)), nil
	})
}

// written writes a route and waits until it is served: that the controller works, and how soon.
func (s *stage) written(address, name string) time.Time {
	s.Helper()
	start := time.Now()
	// A header tells it from the route for all.
	s.apply(fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %[1]s, namespace: NAMESPACE}
spec:
  parentRefs: [{name: gw}]
  rules:
  - matches: [{path: {type: Exact, value: /%[1]s}}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: route, value: %[1]s}]}}]
    backendRefs: [{name: a, port: 8080}]
`, name))
	s.until(time.Minute, "a new route to be served", func() (string, error) {
		conn := load.NewConnection(address, nil)
		defer conn.Close()
		answer, err := conn.Do(s.ctx, load.Request{Host: "x", Path: "/" + name})
		return missing(answer.Header.Get("route") == name, "it is not"), err
	})
	at := time.Now()
	s.figure(name+": a new route is served after", at.Sub(start).Seconds(), "s", nil)
	return at
}

func (s *stage) scale(namespace, name string, replicas int32) (before int32) {
	s.Helper()
	s.changesSystem(namespace)
	deployments := cluster.Core.AppsV1().Deployments(namespace)
	now, err := deployments.GetScale(s.ctx, name, metav1.GetOptions{})
	s.must(err)
	before = now.Spec.Replicas
	now.Spec.Replicas = replicas
	_, err = deployments.UpdateScale(s.ctx, name, now, metav1.UpdateOptions{FieldManager: scene.Writer})
	s.must(err)
	return before
}

// loads are the kinds of clients that there are.
type loads map[string]*load.Run

func (s *stage) allLoads(address string) loads {
	always := load.Always(load.Request{Host: "x", Path: "/"})
	return loads{
		"kept connections": load.Start(s.ctx, load.Plan{
			Address: address, Rate: restartRate, Connections: restartConnections, Request: always,
		}),
		"a connection a request": load.Start(s.ctx, load.Plan{
			Address: address, Rate: restartRate / 4, Connections: restartConnections / 4, Request: always, Once: true,
		}),
		"requests of a second": load.Start(s.ctx, load.Plan{
			Address: address, Rate: 8, Connections: 16, Request: load.Always(load.Request{Host: "x", Path: "/?wait=1s"}),
		}),
		// Seconds go by between two requests: the proxy must not close such a connection under the second one.
		"idle connections": load.Start(s.ctx, load.Plan{
			Address: address, Rate: 8, Connections: 16, Request: always,
		}),
	}
}

// carry waits until each of them has ended as many requests as this time brings.
func (l loads) carry(s *stage, span time.Duration) {
	s.Helper()
	s.carry(span, slices.Collect(maps.Values(l))...)
}

func (l loads) end(s *stage) {
	s.Helper()
	for name, run := range l {
		s.noFaults(name, run.Stop())
	}
}
