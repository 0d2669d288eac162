package behaviour

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
)

var _ = promised(TestRateLimitPolicies, everyChange,
	"RateLimitPolicies answer 429 beyond what they let pass: at a Gateway by header and by address, at a Service by identity; other edits leave what was counted, and a slip closes.")

// What docs/rate-limit-policy.md says, on the cluster.
func TestRateLimitPolicies(t *testing.T) {
	s := beginBeside(t, "limits")
	nodes := s.nodes()
	s.meshed()
	for _, name := range []string{"shop", "other"} {
		s.apply(fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s, namespace: NAMESPACE}\n", name))
	}
	s.pod("shop", nodes[0], "", "serviceAccountName: shop", "")
	s.pod("other", nodes[1], "", "serviceAccountName: other", "")
	s.pod("payments", nodes[0], "", "", "")
	all := s.ready("shop", "other", "payments")
	s.captured("shop", "other", "payments")
	shop, other := s.from(all[0]), s.from(all[1])
	payments := port(podIP(all[2]), 8080)
	service := s.serviceAddress("payments", 8080)
	edge := s.gateway("edge", 1)
	s.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: edge, namespace: NAMESPACE}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: payments, port: 8080}]}]
`)

	// gets waits until a request is answered with a status; 0: the connection is refused or ends without an answer.
	gets := func(s *stage, from load.Dial, address string, header http.Header, wanted int) http.Header {
		s.Helper()
		var got http.Header
		s.until(ample, fmt.Sprintf("%s to answer %d", address, wanted), func() (string, error) {
			conn := load.NewConnection(address, nil).From(from)
			defer conn.Close()
			answer, err := conn.Do(s.ctx, load.Request{Host: "x", Path: "/", Header: header})
			if err != nil {
				return missing(wanted == 0, err.Error()), nil
			}
			got = answer.Header
			return missing(answer.Status == wanted, fmt.Sprintf("status %d", answer.Status)), nil
		})
		return got
	}
	customer := func(name string) http.Header { return http.Header{"X-Customer": {name}} }
	const route = "{group: gateway.networking.k8s.io, kind: HTTPRoute, name: edge}"

	s.part("for each customer", func(s *stage) {
		gets(s, nil, edge, customer("a"), http.StatusOK)
		s.apply(rateLimitPolicy("edge", route, "\n  local: [{name: each, requests: 3, per: Day, key: [{type: Header, name: x-customer}]}]"))
		s.says("RateLimitPolicy", "edge", "fairway.dev/Enforced", "True", "")
		s.says("RateLimitPolicy", "edge", "Accepted", "True", "for each value of header x-customer")
		told := gets(s, nil, edge, customer("a"), http.StatusTooManyRequests)
		if told.Get("retry-after") == "" || told.Get("ratelimit-policy") != `"limit";q=3;w=86400` {
			s.Errorf("the client is told %v", told)
		}
		gets(s, nil, edge, customer("b"), http.StatusOK)
	})
	s.part("counted on while other things change", func(s *stage) {
		s.apply(rateLimitPolicy("edge", route, `
  local:
    - {name: all, requests: 100000, per: Day}
    - {name: each, requests: 3, per: Day, key: [{type: Header, name: x-customer}]}`))
		s.says("RateLimitPolicy", "edge", "Accepted", "True", "(all)")
		s.says("RateLimitPolicy", "edge", "fairway.dev/Enforced", "True", "")
		gets(s, nil, edge, customer("a"), http.StatusTooManyRequests)
	})
	s.part("only observed", func(s *stage) {
		s.apply(rateLimitPolicy("edge", route, "\n  mode: Observe\n  local: [{name: each, requests: 3, per: Day, key: [{type: Header, name: x-customer}]}]"))
		gets(s, nil, edge, customer("a"), http.StatusOK)
	})
	s.part("with a slip", func(s *stage) {
		s.apply(rateLimitPolicy("edge", route, "\n  local: [{requests: 3, per: Day, brust: 5}]"))
		s.says("RateLimitPolicy", "edge", "Accepted", "False", "local[0].brust")
		gets(s, nil, edge, customer("c"), http.StatusInternalServerError)
		s.must(cluster.Delete(s.ctx, "RateLimitPolicy", s.namespace, "edge"))
		gets(s, nil, edge, customer("c"), http.StatusOK)
	})
	s.part("of a Service, by identity", func(s *stage) {
		gets(s, shop, service, nil, http.StatusOK)
		s.apply(rateLimitPolicy("payments", "{group: \"\", kind: Service, name: payments}", "\n  local: [{requests: 5, per: Day, key: [{type: Identity}]}]"))
		s.says("RateLimitPolicy", "payments", "fairway.dev/Enforced", "True", "")
		gets(s, shop, service, nil, http.StatusTooManyRequests)
		gets(s, other, service, nil, http.StatusOK)
		// Nobody gets past the waypoint.
		gets(s, other, payments, nil, 0)
	})
	s.part("gone", func(s *stage) {
		s.must(cluster.Delete(s.ctx, "RateLimitPolicy", s.namespace, "payments"))
		gets(s, shop, service, nil, http.StatusOK)
	})
}

func rateLimitPolicy(name, target, spec string) string {
	return fmt.Sprintf(`
apiVersion: fairway.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: %s, namespace: NAMESPACE}
spec:
  targetRefs: [%s]%s
`, name, target, spec)
}
