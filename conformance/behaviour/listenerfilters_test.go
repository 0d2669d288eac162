package behaviour

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

var _ = promised(TestListenerFilters, everyChange,
	"A listener's filters see each request before its route is matched: routes match what the authorization service says, its refusal is the answer, and without it nobody is served.")

// What docs/external-auth.md says of listeners, on the cluster.
func TestListenerFilters(t *testing.T) {
	s := beginBeside(t, "filters")
	nodes := s.nodes()
	for i, name := range []string{"auth", "shop", "other"} {
		s.pod(name, nodes[i%len(nodes)], "", "", "")
	}
	s.ready("auth", "shop", "other")
	address := s.gateway("edge", 1)
	s.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: edge, namespace: NAMESPACE}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{headers: [{name: pod, value: auth}]}]
    backendRefs: [{name: shop, port: 8080}]
  - backendRefs: [{name: other, port: 8080}]
`)
	const guarded, plain = "guarded.example", "plain.example"

	// gets waits until requests for a host are answered with a status, by this pod if that is 200.
	gets := func(s *stage, host, path string, header http.Header, status int, pod string) {
		s.Helper()
		s.until(ample, fmt.Sprintf("%s%s to answer %d by %q", host, path, status, pod), func() (string, error) {
			conn := load.NewConnection(address, nil)
			defer conn.Close()
			answer, err := conn.Do(s.ctx, load.Request{Host: host, Path: path, Header: header})
			if err != nil {
				return err.Error(), nil
			}
			by := answer.Header.Get("pod")
			is := answer.Status == status && (status != http.StatusOK || by == pod)
			return missing(is, fmt.Sprintf("status %d by %q", answer.Status, by)), nil
		})
	}
	// says waits until the guarded listener says this.
	says := func(s *stage, condition, status, reason string) {
		s.Helper()
		s.until(ample, fmt.Sprintf("the listener to say %s=%s (%s)", condition, status, reason), func() (string, error) {
			gateway, err := cluster.Get(s.ctx, "Gateway", s.namespace, "edge")
			if err != nil {
				return "", err
			}
			found := scene.ListenerCondition(gateway, "guarded", condition)
			return missing(found.Status == status && found.Reason == reason, found.String()), nil
		})
	}
	forged := http.Header{"Pod": {"auth"}}

	s.part("without filters", func(s *stage) {
		s.apply(filtered(""))
		gets(s, guarded, "/", nil, http.StatusOK, "other")
		gets(s, plain, "/", nil, http.StatusOK, "other")
	})
	s.part("before a route is matched", func(s *stage) {
		s.apply(filtered(asks("auth")))
		says(s, "Programmed", "True", "Programmed")
		gets(s, guarded, "/", nil, http.StatusOK, "shop")
		gets(s, guarded, "/", http.Header{"Pod": {"other"}}, http.StatusOK, "shop")
		gets(s, guarded, "/?status=401", nil, http.StatusUnauthorized, "")
		// The one beside it has no filter.
		gets(s, plain, "/", nil, http.StatusOK, "other")
	})
	s.part("in the order written", func(s *stage) {
		s.apply(filtered(asks("other") + asks("auth")))
		gets(s, guarded, "/", nil, http.StatusOK, "shop")
		s.apply(filtered(asks("auth") + asks("other")))
		gets(s, guarded, "/", forged, http.StatusOK, "other")
	})
	s.part("without the service", func(s *stage) {
		s.apply(filtered(asks("nobody")))
		says(s, "ResolvedRefs", "False", "InvalidListenerFilterRef")
		says(s, "Programmed", "False", "Invalid")
		gets(s, guarded, "/", forged, http.StatusInternalServerError, "")
		gets(s, plain, "/", nil, http.StatusOK, "other")
	})
	s.part("that nobody knows", func(s *stage) {
		s.apply(filtered(`
      - {type: ExtensionRef, extensionRef: {group: example.com, kind: Tenant, name: it}}`))
		says(s, "Accepted", "False", "UnsupportedValue")
		gets(s, guarded, "/", forged, http.StatusInternalServerError, "")
		s.apply(filtered(asks("auth")))
		gets(s, guarded, "/", nil, http.StatusOK, "shop")
	})
}

// filtered is a Gateway with a listener that has these filters, and one beside it that has none.
func filtered(filters string) string {
	if filters != "" {
		filters = "\n    filters:\n      requests:" + filters
	}
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: NAMESPACE}
spec:
  gatewayClassName: fairway
  infrastructure: {parametersRef: {group: fairway.dev, kind: GatewayParameters, name: edge}}
  listeners:
  - {name: plain, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
  - name: guarded
    port: 80
    protocol: HTTP
    hostname: guarded.example
    allowedRoutes: {namespaces: {from: All}}%s
`, filters)
}

// asks is a filter that asks a pod and has routes match which one that was.
func asks(pod string) string {
	return fmt.Sprintf(`
      - type: ExternalAuth
        externalAuth:
          protocol: HTTP
          backendRef: {name: %s, port: 8080}
          http: {allowedResponseHeaders: [pod]}`, pod)
}
