package behaviour

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

var _ = promised(TestOwnWaypoint, everyChange,
	"A waypoint that a user writes replaces the automatic one with 0 faults; while none is ready, requests are refused and none passes it by.")

// A waypoint that a user writes is used instead of the one that appeared, which goes, and no request fails. The user's is
// deleted, and another appears; until it is ready requests are refused, and none goes without the route.
func TestOwnWaypoint(t *testing.T) {
	s := begin(t, "own")
	s.installedWith("mesh.waypointLinger=5s")
	s.meshed()
	pods := s.backends("client", "a")
	dial, address := s.from(pods["client"]), s.serviceAddress("a", 8080)
	s.apply(serviceRoute("HTTPRoute", "a", s.namespace, "name: a", "routed", "name: a"))
	s.says("HTTPRoute", "a", "fairway.dev/Enforced", "True", s.namespace+"/waypoint")
	s.variant(dial, address, "routed", ample)
	var bypassed atomic.Int64
	routed := wantRouted("routed", &bypassed)
	loads := s.meshLoads(dial, address, routed)
	s.part("the user's is used, and the other goes", func(s *stage) {
		s.apply(`
apiVersion: fairway.dev/v1alpha1
kind: GatewayParameters
metadata: {name: mine, namespace: NAMESPACE}
spec: {autoscaling: {minReplicas: 2, maxReplicas: 4, targetCPUUtilization: 70}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: mine, namespace: NAMESPACE}
spec:
  gatewayClassName: fairway-waypoint
  infrastructure: {parametersRef: {group: fairway.dev, kind: GatewayParameters, name: mine}}
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
`)
		s.says("HTTPRoute", "a", "fairway.dev/Enforced", "True", s.namespace+"/mine")
		s.says("Service", "a", "fairway.dev/ThroughWaypoint", "True", s.namespace+"/mine")
		s.says("Gateway", "mine", "fairway.dev/Bound", "True", "")
		s.until(ample, "the other to go", func() (string, error) {
			gateway, err := cluster.Get(s.ctx, "Gateway", s.namespace, "waypoint")
			return missing(gateway == nil && len(s.proxies("waypoint")) == 0, "it is there"), err
		})
	})
	s.part("its autoscaler decides how many", func(s *stage) {
		const name = "mine-fairway-waypoint"
		var autoscaler *scene.Object
		s.until(ample, "the autoscaler", func() (string, error) {
			autoscaler = s.get("HorizontalPodAutoscaler", name)
			return missing(autoscaler != nil, "there is none"), nil
		})
		least, _, _ := unstructured.NestedInt64(autoscaler.Object, "spec", "minReplicas")
		most, _, _ := unstructured.NestedInt64(autoscaler.Object, "spec", "maxReplicas")
		if least != 2 || most != 4 {
			s.Errorf("it has %d to %d pods, want 2 to 4", least, most)
		}
		// As an autoscaler would; then something that has the Deployment written anew.
		s.must(s.patch("Deployment", s.namespace, name, `{"spec":{"replicas":3}}`))
		s.must(s.patch("Gateway", s.namespace, "mine", `{"spec":{"infrastructure":{"labels":{"behaviour.test/touched":"yes"}}}}`))
		s.until(ample, "the Deployment to be written", func() (string, error) {
			return missing(s.get("Deployment", name).GetLabels()["behaviour.test/touched"] == "yes", "it is not"), nil
		})
		if count, _, _ := unstructured.NestedInt64(s.get("Deployment", name).Object, "spec", "replicas"); count != 3 {
			s.Errorf("the Deployment has %d replicas, want the autoscaler's 3", count)
		}
		s.rolledOut(s.namespace, name)
	})
	loads.end(s)
	s.part("deleted, another appears", func(s *stage) {
		loads := s.meshLoads(dial, address, routed)
		start := time.Now()
		s.must(cluster.Delete(s.ctx, "Gateway", s.namespace, "mine"))
		s.says("HTTPRoute", "a", "fairway.dev/Enforced", "True", s.namespace+"/waypoint")
		s.figure("deleted to enforced by another", time.Since(start).Seconds(), "s", nil)
		s.until(ample, "its pods to go", func() (string, error) {
			left := len(s.proxies("mine"))
			return missing(left == 0, fmt.Sprintf("%d are left", left)), nil
		})
		s.variant(dial, address, "routed", enforcedWithin)
		for name, run := range loads {
			s.Logf("%s: %s", name, run.Stop())
		}
		s.figure("requests that went around it", float64(bypassed.Load()), "", record.AtMost(0))
	})
}

var _ = promised(TestWaypointWhereProxiesMayBe, beforeRelease,
	"With `rbac.gatewayNamespaces`, waypoints appear in those namespaces; elsewhere the route says why there is none.")

// Proxies may be made in one namespace only: there waypoints appear, and elsewhere the route says why there is none, and
// traffic goes on.
func TestWaypointWhereProxiesMayBe(t *testing.T) {
	s := begin(t, "narrow")
	other := s.namespace + "-other"
	s.makeNamespace(other)
	s.installedWith("rbac.gatewayNamespaces={" + s.namespace + "}")
	elsewhere := &stage{T: s.T, ctx: s.ctx, namespace: other, start: s.start}
	for _, s := range []*stage{s, elsewhere} {
		s.meshed()
		pods := s.backends("client", "a")
		dial, address := s.from(pods["client"]), s.serviceAddress("a", 8080)
		s.apply(serviceRoute("HTTPRoute", "a", s.namespace, "name: a", "routed", "name: a"))
		if s.namespace == other {
			s.says("HTTPRoute", "a", "fairway.dev/Enforced", "False", "forbidden")
			s.variant(dial, address, "", enforcedWithin)
			continue
		}
		took := s.variant(dial, address, "routed", ample)
		s.figure("written to enforced", took.Seconds(), "s", record.AtMost(appearsWithin.Seconds()))
		s.says("HTTPRoute", "a", "fairway.dev/Enforced", "True", s.namespace+"/waypoint")
	}
}
