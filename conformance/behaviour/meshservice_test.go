package behaviour

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/peer"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

const (
	// New connections that show which endpoints a client is sent to: one of four is missed once in 25,000 times.
	looks = 40
	// From a Service or its endpoints to where clients are sent.
	sentWithin = 15 * time.Second
)

var _ = promised(TestMeshServices, everyChange,
	"Session affinity, internal traffic policy, zone and node, no selector, not ready, itself, a Job; direct and through a waypoint: clients of the mesh reach the endpoints kube-proxy would choose, within 15 s of a change.")

// Services of all kinds: a client of the mesh is sent where kube-proxy would send it.
func TestMeshServices(t *testing.T) {
	s := beginBeside(t, "services")
	nodes := s.nodes()
	s.meshed()
	all := map[string]string{"c1": nodes[0], "a1": nodes[0], "b1": nodes[0], "c2": nodes[1], "a2": nodes[1], "b2": nodes[1]}
	for name, node := range all {
		labels := ""
		if !strings.HasPrefix(name, "c") {
			labels = ", role: server"
		}
		s.pod(name, node, labels, "", "")
	}
	s.pod("outside", nodes[1], ", fairway.dev/mesh: disabled", "", "")
	s.pod("unready", nodes[1], ", role: unready", "", "readinessProbe: {tcpSocket: {port: 7999}, periodSeconds: 1}")
	for name, fields := range map[string]string{
		"any":      "selector: {role: server}",
		"sticky":   "selector: {role: server}, sessionAffinity: ClientIP",
		"local":    "selector: {role: server}, internalTrafficPolicy: Local",
		"zone":     "selector: {role: server}, trafficDistribution: PreferSameZone",
		"node":     "selector: {role: server}, trafficDistribution: PreferSameNode",
		"far-only": "selector: {pod: a2}, internalTrafficPolicy: Local",
		"far-zone": "selector: {pod: a2}, trafficDistribution: PreferSameZone",
		"far-node": "selector: {pod: a2}, trafficDistribution: PreferSameNode",
		"early":    "selector: {role: unready}, publishNotReadyAddresses: true",
		"hand":     "sessionAffinity: None",
	} {
		s.apply(fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {name: %s, namespace: NAMESPACE}, spec: {%s, ports: [{name: web, port: 8080}]}}", name, fields))
	}
	names := slices.Sorted(maps.Keys(all))
	pods := map[string]*scene.Object{}
	for i, pod := range s.ready(names...) {
		pods[names[i]] = pod
	}
	s.captured(names...)
	outside := s.ready("outside")[0]
	c1, c2 := s.from(pods["c1"]), s.from(pods["c2"])
	tap := s.tap(slices.Collect(maps.Values(pods))...)

	s.meets(c1, "any", "a1", "a2", "b1", "b2")
	s.part("internal traffic policy", func(s *stage) {
		s.meets(c1, "local", "a1", "b1")
		s.meets(c2, "local", "a2", "b2")
		s.meets(c2, "far-only", "a2")
		s.meets(c1, "far-only")
	})
	s.part("distribution by zone", func(s *stage) {
		s.meets(c1, "zone", "a1", "b1")
		s.meets(c2, "zone", "a2", "b2")
		s.meets(c1, "far-zone", "a2")
	})
	s.part("distribution by node", func(s *stage) {
		s.meets(c1, "node", "a1", "b1")
		s.meets(c2, "node", "a2", "b2")
		s.meets(c1, "far-node", "a2")
	})
	s.part("itself", func(s *stage) {
		s.meets(c1, "c1", "c1")
		s.meets(s.from(pods["a1"]), "local", "a1", "b1")
	})
	s.part("a pod that is not ready", func(s *stage) {
		s.captured("unready")
		s.meets(c1, "early", "unready")
		s.meets(c1, "unready")
	})
	s.part("a job", func(s *stage) { s.job(nodes[0]) })
	s.part("through a waypoint", func(s *stage) {
		for _, service := range []string{"sticky", "local"} {
			s.apply(serviceRoute("HTTPRoute", service, s.namespace, "name: "+service, "routed", "name: "+service))
		}
		for _, service := range []string{"sticky", "local"} {
			// Each node's tunnel is told for itself.
			s.variant(c1, s.serviceAddress(service, 8080), "routed", ample)
			s.variant(c2, s.serviceAddress(service, 8080), "routed", ample)
		}
		s.rolledOut(s.namespace, "waypoint-fairway-waypoint")
		s.meets(c1, "local", "a1", "b1")
		s.meets(c2, "local", "a2", "b2")
		s.meetsOne(c1, "sticky")
		s.meetsOne(c2, "sticky")
		for _, service := range []string{"sticky", "local"} {
			s.must(cluster.Delete(s.ctx, "HTTPRoute", s.namespace, service))
		}
		for _, service := range []string{"sticky", "local"} {
			s.variant(c1, s.serviceAddress(service, 8080), "", ample)
			s.variant(c2, s.serviceAddress(service, 8080), "", ample)
		}
	})
	s.part("session affinity", func(s *stage) {
		first, other := s.meetsOne(c1, "sticky"), s.meetsOne(c2, "sticky")
		s.must(cluster.Delete(s.ctx, "Pod", s.namespace, first))
		s.until(sentWithin, first+" to be met no more", func() (string, error) {
			met := s.met(c1, "sticky")
			return missing(met[first] == 0, fmt.Sprint(met)), nil
		})
		s.meetsOne(c1, "sticky")
		if now := s.meetsOne(c2, "sticky"); other != first && now != other {
			s.Errorf("c2 met %s, and %s when %s was gone", other, now, first)
		}
	})
	s.onlyTunnels(tap)
	s.part("without selector", func(s *stage) {
		s.apply(fmt.Sprintf(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: hand-1, namespace: NAMESPACE, labels: {kubernetes.io/service-name: hand}}
addressType: IPv4
ports: [{name: web, port: 8080}]
endpoints: [{addresses: [%s]}, {addresses: [%s]}]
`, podIP(pods["c2"]), podIP(outside)))
		s.meets(c1, "hand", "c2", "outside")
	})
}

// met counts which pods answered a client's new connections to a Service, and those that were not answered under "".
func (s *stage) met(from load.Dial, service string) map[string]int {
	s.Helper()
	address, met := s.serviceAddress(service, 8080), map[string]int{}
	for range looks {
		answer, err := s.ask(from, address, "/")
		if err != nil {
			met[""]++
			continue
		}
		met[answer.Header.Get("pod")]++
	}
	return met
}

// meets waits until a client's connections to a Service are answered by all of these pods and no other; by none if there are none.
func (s *stage) meets(from load.Dial, service string, wanted ...string) {
	s.Helper()
	if len(wanted) == 0 {
		wanted = []string{""}
	}
	s.until(sentWithin, fmt.Sprintf("%s to be %q", service, wanted), func() (string, error) {
		met := s.met(from, service)
		return missing(slices.Equal(slices.Sorted(maps.Keys(met)), wanted), fmt.Sprint(met)), nil
	})
}

// meetsOne wants that a client always meets the same pod, and returns which.
func (s *stage) meetsOne(from load.Dial, service string) string {
	s.Helper()
	met := slices.Collect(maps.Keys(s.met(from, service)))
	if len(met) != 1 || met[0] == "" {
		s.Fatalf("%s: met %q, want always the same pod", service, met)
	}
	return met[0]
}

// job runs one to its end, that of its pod too, and wants nothing of it left in its node's tunnel.
func (s *stage) job(node string) {
	s.apply(fmt.Sprintf(`
apiVersion: batch/v1
kind: Job
metadata: {name: job, namespace: NAMESPACE}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {app: job}}
    spec:
      nodeName: %s
      restartPolicy: Never
      containers:
      - {name: backend, image: %s, imagePullPolicy: IfNotPresent, args: [try, -to, "a2:8080", -say, %s, -times, "20", -pause, 100ms]}
`, node, *image, peer.Name))
	tunnel := s.process(s.tunnels()[node], ztunnelName)
	held := func() (bool, error) {
		pods, err := tunnel.Output("curl", "--silent", "--fail", "http://127.0.0.1:15000/pods")
		return strings.Contains(pods, s.namespace+"/job-"), err
	}
	s.until(ample, "its pod to be in the tunnel", func() (string, error) {
		is, err := held()
		return missing(is, "it is not"), err
	})
	s.until(ample, "it to be complete", func() (string, error) {
		job, err := cluster.Get(s.ctx, "Job", s.namespace, "job")
		if err != nil || job == nil {
			return "it is not there", err
		}
		condition := scene.ConditionOf(job, "Complete")
		return missing(condition.Status == "True", condition.String()), nil
	})
	said, err := s.run(*kubectl, "-n", s.namespace, "logs", "job/job")
	s.must(err)
	if !strings.Contains(said, `"done":20`) {
		s.Errorf("the job said %s", said)
	}
	took := s.until(sentWithin, "its pod to be gone from the tunnel", func() (string, error) {
		is, err := held()
		return missing(!is, "it is still there"), err
	})
	s.figure("gone from the tunnel after", took.Seconds(), "s", record.AtMost(sentWithin.Seconds()))
}
