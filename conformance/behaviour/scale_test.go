package behaviour

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

const (
	scaleNamespaces = 50
	scaleRoutes     = 5000
	fewRoutes       = 10
	propagations    = 200
	// MiB that 5,000 routes may add to a proxy, and that a controller may have in all.
	proxyMemory      = 20
	controllerMemory = 175
	// Controller and proxies together, of one processor, while nothing happens.
	steadyProcessor = 0.05
)

var _ = promised(TestFiveThousandRoutes, beforeRelease,
	"5,000 routes with Services in 50 namespaces: a proxy grows by at most 20 MiB, a controller has at most 175 MiB, all are served, and at rest nothing is computed.")

// 5,000 routes, each with a Service and endpoints of its own, in 50 namespaces.
func TestFiveThousandRoutes(t *testing.T) {
	s := begin(t, "scale")
	pods := s.backends("a")
	address := s.gateway("gw", 1)
	ip := podIP(pods["a"])
	namespaces := make([]string, scaleNamespaces)
	for i := range namespaces {
		namespaces[i] = fmt.Sprintf("%s-%d", s.namespace, i)
	}
	s.freshNamespaces(namespaces)
	for _, namespace := range namespaces {
		s.lendPods(namespace)
	}

	make := func(i int) error {
		return cluster.Create(s.ctx, scaleRoute(namespaces[i%scaleNamespaces], s.namespace, ip, i))
	}
	s.inParallel(fewRoutes, make)
	s.reach(address, scaleRequest(fewRoutes-1), 404, 200, appearLimit)
	idle := s.memory("idle")
	s.part(fmt.Sprintf("propagation at %d routes", fewRoutes), func(s *stage) { s.propagate(address, ip) })

	s.part("applied", func(s *stage) {
		start := time.Now()
		s.inParallel(scaleRoutes-fewRoutes, func(i int) error { return make(i + fewRoutes) })
		done := time.Now()
		s.figure("writing them", done.Sub(start).Seconds(), "s", nil)
		s.until(ample, "all routes to be attached", func() (string, error) {
			gateway, err := cluster.Get(s.ctx, "Gateway", s.namespace, "gw")
			if err != nil {
				return "", err
			}
			count := scene.AttachedRoutes(gateway, "http")
			return missing(count == scaleRoutes, fmt.Sprint(count)), nil
		})
		s.figure("attached, after the last was written", time.Since(done).Seconds(), "s", nil)
		s.reach(address, scaleRequest(scaleRoutes-1), 404, 200, appearLimit)
		wrong := 0
		conn := load.NewConnection(address, nil)
		defer conn.Close()
		for i := range scaleRoutes {
			if answer, err := conn.Do(s.ctx, scaleRequest(i)); err != nil || answer.Status != 200 {
				wrong++
			}
		}
		s.figure("all served, after the last was written", time.Since(done).Seconds(), "s", nil)
		s.figure("routes not served", float64(wrong), "", record.AtMost(0))
	})

	s.part(fmt.Sprintf("propagation at %d routes", scaleRoutes), func(s *stage) { s.propagate(address, ip) })
	full := s.memory("at 5,000 routes")
	for name := range idle {
		if strings.HasPrefix(name, "proxy") {
			s.figure(name+" over idle", full[name].Resident-idle[name].Resident, "MiB", record.AtMost(proxyMemory))
			continue
		}
		s.figure(name+" in all", full[name].Resident, "MiB", record.AtMost(controllerMemory))
	}
	s.part("steady", func(s *stage) { s.steady() })
	s.part("restarted controllers know them all", func(s *stage) {
		s.restart(systemNamespace, controllerName)
		s.written(address, "after")
		for name, memory := range s.memory("restarted") {
			if !strings.HasPrefix(name, "proxy") {
				s.figure(name+" in all", memory.Resident, "MiB", record.AtMost(controllerMemory))
			}
		}
	})
}

// freshNamespaces makes many at once.
func (s *stage) freshNamespaces(names []string) {
	s.Helper()
	remove := func(i int) error { return cluster.Delete(s.ctx, "Namespace", "", names[i]) }
	s.inParallel(len(names), remove)
	for _, name := range names {
		s.makeNamespace(name)
	}
}

func scaleRequest(i int) load.Request { return load.Request{Host: "x", Path: fmt.Sprintf("/s%d", i)} }

func scaleRoute(namespace, gateways, ip string, i int) string {
	name := fmt.Sprintf("s%d", i)
	it := strings.Replace(route(name, namespace, "gw", "/"+name, name), "{name: gw}", "{name: gw, namespace: "+gateways+"}", 1)
	return serviceAt(name, namespace, ip) + it
}

// propagate writes routes one by one; from the call until the first answer.
func (s *stage) propagate(address, ip string) {
	s.apply(serviceAt("probed", s.namespace, ip))
	var took []time.Duration
	others := 0
	for i := range propagations {
		name := fmt.Sprintf("probe-%d", i)
		start := time.Now()
		s.must(cluster.Create(s.ctx, twoRules(name, s.namespace, "probed")))
		at, unexpected := s.reach(address, load.Request{Host: "x", Path: "/" + name}, 404, 200, appearLimit)
		others += s.count("404 to 200", i, unexpected)
		took = append(took, at.Sub(start))
	}
	s.spread("one route", took)
	s.figure("other answers", float64(others), "", record.AtMost(0))
	s.inParallel(propagations, func(i int) error {
		return cluster.Delete(s.ctx, "HTTPRoute", s.namespace, fmt.Sprintf("probe-%d", i))
	})
	s.reach(address, load.Request{Host: "x", Path: fmt.Sprintf("/probe-%d", propagations-1)}, 200, 404, appearLimit)
}

// memory of the controllers, and of the proxy; the leader is named so.
func (s *stage) memory(when string) map[string]scene.Memory {
	s.Helper()
	memories := map[string]scene.Memory{}
	for name, process := range s.programs() {
		memory, err := process.Memory()
		s.must(err)
		memories[name] = memory
		s.figure(fmt.Sprintf("%s, %s", name, when), memory.Resident, "MiB", nil)
		s.figure(fmt.Sprintf("%s, %s, without its file", name, when), memory.Own, "MiB", nil)
		s.figure(fmt.Sprintf("%s, %s, at the most", name, when), memory.Peak, "MiB", nil)
	}
	return memories
}

func (s *stage) programs() map[string]scene.Process {
	s.Helper()
	programs := map[string]scene.Process{}
	leader := s.leader()
	for _, pod := range s.pods(systemNamespace, controllerLabel) {
		name := "standby"
		if pod.GetName() == leader {
			name = "controller"
		}
		programs[name] = s.process(pod, controllerName)
	}
	programs["proxy"] = s.process(s.proxies("gw")[0], "fairway-waypoint")
	return programs
}

// steady: what it costs when nothing happens.
func (s *stage) steady() {
	const watched = 10 * time.Second
	programs := s.programs()
	before := map[string]float64{}
	for name, process := range programs {
		used, err := process.Processor()
		s.must(err)
		before[name] = used
	}
	s.watch(watched)
	total := 0.0
	for name, process := range programs {
		used, err := process.Processor()
		s.must(err)
		s.figure(name+", processor", (used-before[name])/watched.Seconds(), "", nil)
		total += (used - before[name]) / watched.Seconds()
	}
	s.figure("all, processor", total, "", record.AtMost(steadyProcessor))
}
