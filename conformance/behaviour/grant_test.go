package behaviour

import (
	"fmt"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

// From the end of a grant to the end of the traffic, and to the status that says so.
const grantLimit = time.Second

var _ = promised(TestReferenceGrantRemoved, everyChange,
	"When a ReferenceGrant goes, traffic over it ends within 1 s, and the route's status says so.")

// A route uses a Service of another namespace. When the ReferenceGrant goes, so does the traffic, at once. It runs by itself: beside other
// tests one of five took 1.2 s, and what is measured is Fairway.
func TestReferenceGrantRemoved(t *testing.T) {
	s := begin(t, "grant")
	owner := s.namespace + "-owner"
	s.makeNamespace(owner)
	pods := s.backends("a")
	address := s.gateway("gw", 1)
	s.apply(serviceAt("lent", owner, podIP(pods["a"])))
	s.lendPods(owner)
	s.apply(fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: borrower, namespace: NAMESPACE}
spec:
  parentRefs: [{name: gw}]
  rules: [{backendRefs: [{name: lent, namespace: %s, port: 8080}]}]
`, owner))
	grant := fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: lent, namespace: %s}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: %s}]
  to: [{group: "", kind: Service}]
`, owner, s.namespace)
	request := load.Request{Host: "x", Path: "/"}

	const times = 5
	var stopped, said, back []time.Duration
	others := 0
	for range times {
		start := time.Now()
		s.apply(grant)
		at, unexpected := s.reach(address, request, 500, 200, appearLimit)
		// Before the first grant the route may not be there yet.
		if len(back) > 0 {
			others += len(unexpected)
		}
		back = append(back, at.Sub(start))
		s.refs("True", "ResolvedRefs")

		start = time.Now()
		s.must(cluster.Delete(s.ctx, "ReferenceGrant", owner, "lent"))
		at, unexpected = s.reach(address, request, 200, 500, appearLimit)
		others += len(unexpected)
		stopped = append(stopped, at.Sub(start))
		s.refs("False", "RefNotPermitted")
		said = append(said, time.Since(start))
		// It stays stopped.
		for range 20 {
			_, unexpected = s.reach(address, request, 500, 500, appearLimit)
			others += len(unexpected)
		}
	}
	s.spread("grant removed to traffic stopped", stopped)
	s.spread("grant removed to status", said)
	s.spread("grant given to traffic", back)
	s.figure("other answers", float64(others), "", record.AtMost(0))
	for name, took := range map[string][]time.Duration{"stopped": stopped, "status": said} {
		for _, d := range took {
			if d > grantLimit {
				s.Errorf("%s after %s, want %s at most", name, d, grantLimit)
			}
		}
	}
}

// refs waits for the route's ResolvedRefs.
func (s *stage) refs(status, reason string) {
	s.Helper()
	s.until(appearLimit, "ResolvedRefs of the route to be "+status, func() (string, error) {
		it, err := cluster.Get(s.ctx, "HTTPRoute", s.namespace, "borrower")
		if err != nil {
			return "", err
		}
		condition := scene.RouteCondition(it, "ResolvedRefs")
		return missing(condition.Status == status && condition.Reason == reason, condition.String()), nil
	})
}

// lendPods lets Services of another namespace have the pods of this one.
func (s *stage) lendPods(to string) {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: pods-%s, namespace: NAMESPACE}
spec:
  from: [{group: "", kind: Service, namespace: %s}]
  to: [{group: "", kind: Pod}]
`, to, to))
}
