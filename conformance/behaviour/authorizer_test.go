package behaviour

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
)

const (
	authorizerImage = "fairway.test/authorizer:v1"
	// From a route, or the service's pod, being there to requests that are decided so: a namespace's first waypoint has to start.
	decidedWithin = time.Minute
)

var _ = promised(TestRealAuthorizer, everyChange,
	"An authorization service of others' making (Envoy's protocol by gRPC, policies of OPA) decides for a Gateway's route, a listener and a Service: "+
		"it is asked what the backend gets, its headers cannot be forged, and without it nobody is served.")

// authorization is the policy: who may do what, and what the backend is told. It sets a header that clients try to forge.
const authorization = `
package authorization

import rego.v1

request := input.attributes.request.http

asked := sprintf("%s %s", [request.method, request.path])

default allowed := false

allowed if {
	request.method == "GET"
	not closed
}

allowed if {
	request.method == "POST"
	startswith(request.path, "/charges")
}

closed if request.path == "/admin"

# Who asks, as the mesh knows it.
closed if {
	startswith(request.path, "/of-the-shop")
	not the_shop
}

# A rule of its own: a negated call with an argument that is not there would be neither true nor false.
the_shop if endswith(input.attributes.source.principal, "/sa/shop")

decision := {
	"allowed": true,
	"headers": {"variant": asked, "x-user": "alice"},
	"remove": ["x-role"],
	"response": {"x-decided": "by opa"},
} if allowed

decision := {
	"allowed": false,
	"status": 401,
	"headers": {"www-authenticate": "Bearer realm=\"shop\"", "x-decided": "by opa"},
	"body": sprintf("nobody may %s", [asked]),
} if not allowed
`

// A way to the backend on which the service is asked.
type guardedWay struct {
	name, address, host string
	from                load.Dial
}

// onWay sends one request on a way, on a connection of its own.
func (s *stage) onWay(way guardedWay, method, path string, header http.Header) (load.Answer, error) {
	conn := load.NewConnection(way.address, nil).From(way.from)
	defer conn.Close()
	return conn.Do(s.ctx, load.Request{Method: method, Host: way.host, Path: path, Header: header})
}

// decided waits until a request is answered with this status by the service's decision, and returns the answer.
func (s *stage) decided(way guardedWay, method, path string, header http.Header, status int) (answer load.Answer) {
	s.Helper()
	s.until(decidedWithin, fmt.Sprintf("%s to answer %s %s with %d", way.name, method, path, status), func() (string, error) {
		var err error
		answer, err = s.onWay(way, method, path, header)
		is := err == nil && answer.Status == status && answer.Header.Get("x-decided") == "by opa"
		return missing(is, fmt.Sprintf("status %d, decided %q, %v", answer.Status, answer.Header.Get("x-decided"), err)), nil
	})
	return answer
}

// What docs/external-auth.md says of services by gRPC, with one that others have written.
func TestRealAuthorizer(t *testing.T) {
	s := beginBeside(t, "authorizer")
	nodes := s.nodes()
	s.meshed()
	for _, name := range []string{"shop", "other"} {
		s.apply(fmt.Sprintf("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s, namespace: NAMESPACE}\n", name))
	}
	s.pod("shop", nodes[0], "", "serviceAccountName: shop", "")
	s.pod("other", nodes[1], "", "serviceAccountName: other", "")
	s.pod("payments", nodes[1], "", "", "")
	s.authorizer(nodes[0])
	s.apply(guardedGateway + guardedRoute("edge", "{name: edge, sectionName: http}", true) +
		guardedRoute("listener", "{name: edge, sectionName: filtered}", false) +
		guardedRoute("payments", "{group: \"\", kind: Service, name: payments}", true))
	pods := s.ready("shop", "other", "payments", "authorizer")
	s.captured("shop", "other", "payments", "authorizer")
	gateway := s.programmed("edge") + ":80"
	service := s.serviceAddress("payments", 8080)
	ways := []guardedWay{
		{"a route of a Gateway", gateway, "shop.example", nil},
		{"a listener", gateway, "filtered.example", nil},
		{"a route of a Service", service, "payments", s.from(pods[0])},
	}
	for _, way := range ways {
		s.part(way.name, func(s *stage) { s.guards(way) })
	}
	s.part("who asks", func(s *stage) {
		own, other := ways[2], ways[2]
		other.from = s.from(pods[1])
		s.decided(own, "GET", "/of-the-shop", nil, http.StatusOK)
		s.decided(other, "GET", "/of-the-shop", nil, http.StatusUnauthorized)
		s.decided(other, "GET", "/", nil, http.StatusOK)
		// A Gateway's client has no identity in the mesh.
		s.decided(ways[0], "GET", "/of-the-shop", nil, http.StatusUnauthorized)
	})
	s.part("without the service nobody is served", func(s *stage) {
		s.must(cluster.Delete(s.ctx, "Pod", s.namespace, "authorizer"))
		for _, way := range ways {
			s.until(ample, way.name+" to be closed", func() (string, error) {
				answer, err := s.onWay(way, "GET", "/charges", nil)
				is := err == nil && answer.Status == http.StatusForbidden
				return missing(is, fmt.Sprintf("status %d, %v", answer.Status, err)), nil
			})
		}
		s.until(ample, "it to go", func() (string, error) { return missing(s.get("Pod", "authorizer") == nil, "it is there"), nil })
		for _, way := range ways {
			if answer, err := s.onWay(way, "GET", "/charges", nil); err != nil || answer.Status != http.StatusForbidden {
				s.Errorf("%s, with nobody to ask: status %d, %v", way.name, answer.Status, err)
			}
		}
	})
	s.part("it is back", func(s *stage) {
		s.authorizer(nodes[1])
		s.ready("authorizer")
		for _, way := range ways {
			s.decided(way, "GET", "/charges", nil, http.StatusOK)
		}
	})
}

// guards wants that the service decides about what comes on a way, and that the backend is told what it says and nothing else.
func (s *stage) guards(way guardedWay) {
	s.Helper()
	// Whoever asks says that it is somebody.
	forged := http.Header{"Variant": {"forged"}, "X-User": {"forged", "forged"}, "X-Role": {"forged"}}
	s.decided(way, "GET", "/", nil, http.StatusOK)
	for _, target := range []string{
		"GET /charges?header=x-user&header=x-role", "POST /charges?header=x-user&header=x-role",
		// Not what the policy closes, as it is written; and the backend is not told otherwise.
		"GET //admin?header=x-user&header=x-role", "GET /admin;x?header=x-user&header=x-role", "GET /%61dmin?header=x-user&header=x-role",
		"GET /admin/?header=x-user&header=x-role",
	} {
		method, path, _ := strings.Cut(target, " ")
		for _, header := range []http.Header{nil, forged} {
			answer := s.decided(way, method, path, header, http.StatusOK)
			asked, got := answer.Header.Get("variant"), answer.Header.Get("target")
			if asked != got {
				s.Errorf("the service was asked about %q, and the backend got %q", asked, got)
			}
			if asked != target {
				s.Errorf("the service was asked about %q, want %q", asked, target)
			}
			heard := strings.Join(answer.Header.Values("heard"), ", ")
			if heard != "x-user: alice, x-role:" {
				s.Errorf("%s: with headers %v the backend was told %q", target, header, heard)
			}
		}
	}
	// What one server takes for another path than the next one is not asked about.
	if answer, err := s.onWay(way, "GET", "/a/../admin", nil); err != nil || answer.Status != http.StatusBadRequest {
		s.Errorf("GET /a/../admin: status %d, %v, want 400", answer.Status, err)
	}
	for _, target := range []string{"GET /admin", "POST /", "DELETE /charges"} {
		method, path, _ := strings.Cut(target, " ")
		answer := s.decided(way, method, path, forged, http.StatusUnauthorized)
		if got, want := string(answer.Body), "nobody may "+target; got != want {
			s.Errorf("%s: the body is %q, want %q", target, got, want)
		}
		if got := answer.Header.Get("www-authenticate"); got != `Bearer realm="shop"` {
			s.Errorf("%s: www-authenticate is %q", target, got)
		}
		if pod := answer.Header.Get("pod"); pod != "" {
			s.Errorf("%s: %s has answered", target, pod)
		}
	}
}

// authorizer makes the service, on a node.
func (s *stage) authorizer(node string) {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: authorizer, namespace: NAMESPACE}
data:
  policy.rego: |
    %s
---
apiVersion: v1
kind: Pod
metadata: {name: authorizer, namespace: NAMESPACE, labels: {app: authorizer}}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  containers:
  - name: authorizer
    image: %s
    imagePullPolicy: IfNotPresent
    args: [/policy/policy.rego]
    readinessProbe: {tcpSocket: {port: 9191}, periodSeconds: 1}
    volumeMounts: [{name: policy, mountPath: /policy}]
  volumes: [{name: policy, configMap: {name: authorizer}}]
---
apiVersion: v1
kind: Service
metadata: {name: authorizer, namespace: NAMESPACE}
spec:
  selector: {app: authorizer}
  ports: [{name: grpc, port: 9191}]
`, strings.ReplaceAll(strings.TrimSpace(authorization), "\n", "\n    "), node, authorizerImage))
}

const asksByGRPC = `
      - type: ExternalAuth
        externalAuth: {protocol: GRPC, grpc: {}, backendRef: {name: authorizer, port: 9191}}`

// guardedGateway has a listener without filters, and one that asks before a route is matched.
const guardedGateway = `
apiVersion: fairway.dev/v1alpha1
kind: GatewayParameters
metadata: {name: edge, namespace: NAMESPACE}
spec: {replicas: 1}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: NAMESPACE}
spec:
  gatewayClassName: fairway
  infrastructure: {parametersRef: {group: fairway.dev, kind: GatewayParameters, name: edge}}
  listeners:
  - {name: http, port: 80, protocol: HTTP}
  - name: filtered
    port: 80
    protocol: HTTP
    hostname: filtered.example
    filters:
      requests:` + asksByGRPC + `
---
`

// guardedRoute leads from a parent to the backend, and may have the service asked.
func guardedRoute(name, parent string, asks bool) string {
	filters := ""
	if asks {
		filters = "\n    filters:" + strings.ReplaceAll(asksByGRPC, "\n      ", "\n    ")
	}
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s, namespace: NAMESPACE}
spec:
  parentRefs: [%s]
  rules:
  - backendRefs: [{name: payments, port: 8080}]%s
---
`, name, parent, filters)
}
