package behaviour

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
)

var _ = promised(TestAuthenticationPolicies, everyChange,
	"AuthenticationPolicies answer 401 to who has no valid key: at a Gateway, at a route, at a Service; backends get the client's name and not the key, and a Secret that goes closes.")

// What docs/authentication-policy.md says, on the cluster.
func TestAuthenticationPolicies(t *testing.T) {
	s := beginBeside(t, "authentication")
	nodes := s.nodes()
	s.meshed()
	s.pod("shop", nodes[0], "", "", "")
	s.pod("payments", nodes[1], "", "", "")
	all := s.ready("shop", "payments")
	s.captured("shop", "payments")
	shop := s.from(all[0])
	payments := port(podIP(all[1]), 8080)
	service := s.serviceAddress("payments", 8080)
	edge := s.gateway("edge", 1)
	const secret = `
apiVersion: v1
kind: Secret
metadata: {name: clients, namespace: NAMESPACE}
type: fairway.dev/credentials
stringData: {ada: one, bob: "sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"}
`
	s.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: edge, namespace: NAMESPACE}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: payments, port: 8080}]}]
---` + secret)

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
	key := func(value string) http.Header { return http.Header{"X-Api-Key": {value}} }
	const route = "{group: gateway.networking.k8s.io, kind: HTTPRoute, name: edge}"
	const keys = "\n  apiKey: {credentialRefs: [{name: clients}], forwardClientIDHeader: x-client}"

	s.part("at a route", func(s *stage) {
		gets(s, nil, edge, nil, http.StatusOK)
		s.apply(authenticationPolicy("edge", route, keys))
		s.says("AuthenticationPolicy", "edge", "fairway.dev/Enforced", "True", "")
		told := gets(s, nil, edge, nil, http.StatusUnauthorized)
		if told.Get("www-authenticate") == "" {
			s.Errorf("the client is told %v", told)
		}
		gets(s, nil, edge, key("none"), http.StatusUnauthorized)
		gets(s, nil, edge, key("one"), http.StatusOK)
		gets(s, nil, edge, key("two"), http.StatusOK)
	})
	s.part("without its Secret", func(s *stage) {
		s.must(cluster.Delete(s.ctx, "Secret", s.namespace, "clients"))
		s.says("AuthenticationPolicy", "edge", "Accepted", "False", "there is no Secret")
		gets(s, nil, edge, key("one"), http.StatusInternalServerError)
		s.apply(secret)
		gets(s, nil, edge, key("one"), http.StatusOK)
		gets(s, nil, edge, nil, http.StatusUnauthorized)
	})
	s.part("with a slip", func(s *stage) {
		s.apply(authenticationPolicy("edge", route, keys+"\n  optionel: true"))
		s.says("AuthenticationPolicy", "edge", "Accepted", "False", "optionel")
		gets(s, nil, edge, key("one"), http.StatusInternalServerError)
		s.must(cluster.Delete(s.ctx, "AuthenticationPolicy", s.namespace, "edge"))
		gets(s, nil, edge, nil, http.StatusOK)
	})
	s.part("of a Service", func(s *stage) {
		gets(s, shop, service, nil, http.StatusOK)
		s.apply(authenticationPolicy("payments", "{group: \"\", kind: Service, name: payments}", keys))
		s.says("AuthenticationPolicy", "payments", "fairway.dev/Enforced", "True", "")
		gets(s, shop, service, nil, http.StatusUnauthorized)
		gets(s, shop, service, key("one"), http.StatusOK)
		// Nobody gets past the waypoint.
		gets(s, shop, payments, key("one"), 0)
	})
	s.part("gone", func(s *stage) {
		s.must(cluster.Delete(s.ctx, "AuthenticationPolicy", s.namespace, "payments"))
		gets(s, shop, service, nil, http.StatusOK)
	})
}

func authenticationPolicy(name, target, spec string) string {
	return fmt.Sprintf(`
apiVersion: fairway.dev/v1alpha1
kind: AuthenticationPolicy
metadata: {name: %s, namespace: NAMESPACE}
spec:
  targetRefs: [%s]%s
`, name, target, spec)
}
