package behaviour

import (
	"fmt"
	"testing"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
)

var _ = promised(TestAccessPolicies, everyChange,
	"AccessPolicies refuse whom they do not let in: at a Service, past its waypoint, at pods, at a Gateway, in every spelling of a path; a slip in one closes.")

// What docs/access-policy.md says, on the cluster.
func TestAccessPolicies(t *testing.T) {
	s := beginBeside(t, "access")
	nodes := s.nodes()
	s.meshed()
	for _, name := range []string{"shop", "other"} {
		s.apply(fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s, namespace: NAMESPACE}\n", name))
	}
	s.pod("shop", nodes[0], "", "serviceAccountName: shop", "")
	s.pod("other", nodes[1], "", "serviceAccountName: other", "")
	s.pod("payments", nodes[0], "", "", "")
	s.pod("database", nodes[1], "", "", "")
	all := s.ready("shop", "other", "payments", "database")
	s.captured("shop", "other", "payments", "database")
	shop, other := s.from(all[0]), s.from(all[1])
	payments, database := port(podIP(all[2]), 8080), port(podIP(all[3]), 8080)
	service := s.serviceAddress("payments", 8080)

	// gets waits until a client's new connections are answered with a status; 0: they are refused.
	gets := func(s *stage, from load.Dial, address, path string, wanted int) {
		s.Helper()
		s.until(ample, fmt.Sprintf("%s%s to answer %d", address, path, wanted), func() (string, error) {
			answer, err := s.ask(from, address, path)
			if err != nil {
				return missing(wanted == 0, err.Error()), nil
			}
			return missing(answer.Status == wanted, fmt.Sprintf("status %d", answer.Status)), nil
		})
	}

	s.part("of a Service", func(s *stage) {
		gets(s, other, service, "/", 200)
		s.apply(accessPolicy("only-the-shop", "{group: \"\", kind: Service, name: payments}", `
  action: Allow
  rules: [{name: shop, from: [{serviceAccounts: [{name: shop}]}], to: [{methods: [GET], paths: [{value: /charges}]}]}]`))
		s.says("AccessPolicy", "only-the-shop", "fairway.dev/Enforced", "True", "")
		gets(s, shop, service, "/charges/1", 200)
		gets(s, shop, service, "/", 403)
		gets(s, shop, service, "/charges;/x", 403)
		gets(s, other, service, "/charges/1", 403)
		// Nobody gets past the waypoint.
		gets(s, shop, payments, "/charges/1", 0)
		gets(s, other, payments, "/charges/1", 0)
	})
	s.part("with a slip", func(s *stage) {
		s.apply(accessPolicy("only-the-shop", "{group: \"\", kind: Service, name: payments}", `
  action: Allow
  rules: [{name: shop, form: [{serviceAccounts: [{name: shop}]}]}]`))
		s.says("AccessPolicy", "only-the-shop", "Accepted", "False", "rules[0].form")
		gets(s, shop, service, "/charges/1", 403)
		gets(s, other, service, "/charges/1", 403)
		s.must(cluster.Delete(s.ctx, "AccessPolicy", s.namespace, "only-the-shop"))
		gets(s, other, service, "/", 200)
	})
	s.part("of pods", func(s *stage) {
		gets(s, other, database, "/", 200)
		s.apply(accessPolicy("nobody", "{group: \"\", kind: Pod, selector: {matchLabels: {pod: database}}}", "\n  action: Allow"))
		s.says("AccessPolicy", "nobody", "fairway.dev/Enforced", "True", "")
		gets(s, other, database, "/", 0)
		gets(s, shop, database, "/", 0)
		s.apply(accessPolicy("database", "{group: \"\", kind: Pod, selector: {matchLabels: {pod: database}}}", `
  action: Allow
  rules: [{from: [{serviceAccounts: [{name: shop}]}], to: [{ports: [8080]}]}]`))
		gets(s, shop, database, "/", 200)
		gets(s, other, database, "/", 0)
	})
	s.part("of a Gateway", func(s *stage) {
		address := s.gateway("edge", 1)
		s.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: edge, namespace: NAMESPACE}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: payments, port: 8080}]}]
`)
		gets(s, nil, address, "/admin", 200)
		s.apply(accessPolicy("no-admin", "{group: gateway.networking.k8s.io, kind: Gateway, name: edge}", `
  action: Deny
  rules: [{to: [{paths: [{value: /admin}]}]}]`))
		s.says("AccessPolicy", "no-admin", "fairway.dev/Enforced", "True", "")
		for _, path := range []string{"/admin", "//admin", "/admin;x", "/%61dmin", "/%2Fadmin", "/;%2Fx/admin", "/%252Fadmin"} {
			gets(s, nil, address, path, 403)
		}
		gets(s, nil, address, "/administrator", 200)
	})
}

func accessPolicy(name, target, spec string) string {
	return fmt.Sprintf(`
apiVersion: fairway.dev/v1alpha1
kind: AccessPolicy
metadata: {name: %s, namespace: NAMESPACE}
spec:
  targetRefs: [%s]%s
`, name, target, spec)
}
