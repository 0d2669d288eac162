package behaviour

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

// The program in the pods of backends.
const backendProgram = "backend"

// from is how a program in a pod connects.
func (s *stage) from(pod *scene.Object) load.Dial {
	s.Helper()
	return s.process(pod, backendProgram).Dial
}

// serviceAddress of a Service of the stage's namespace: its cluster IP and a port.
func (s *stage) serviceAddress(name string, port int) string {
	s.Helper()
	service := s.get("Service", name)
	if service == nil {
		s.Fatalf("no Service %s", name)
	}
	ip, _, _ := unstructured.NestedString(service.Object, "spec", "clusterIP")
	return net.JoinHostPort(ip, fmt.Sprint(port))
}

// ask sends one request on a connection of its own.
func (s *stage) ask(dial load.Dial, address, path string) (load.Answer, error) {
	conn := load.NewConnection(address, nil).From(dial)
	defer conn.Close()
	return conn.Do(s.ctx, load.Request{Host: "x", Path: path})
}

// variant asks again and again until a new connection's answer has this header, and returns how long that took.
func (s *stage) variant(dial load.Dial, address, wanted string, limit time.Duration) time.Duration {
	s.Helper()
	return s.until(limit, fmt.Sprintf("an answer of variant %q", wanted), func() (string, error) {
		return s.at(dial, address, "/", 200, wanted)
	})
}

// at answers whether a request for a path has this status and variant.
func (s *stage) at(dial load.Dial, address, path string, status int, variant string) (string, error) {
	answer, err := s.ask(dial, address, path)
	if err != nil {
		return err.Error(), nil
	}
	got := answer.Header.Get("variant")
	return missing(answer.Status == status && got == variant, fmt.Sprintf("%s: status %d, variant %q", path, answer.Status, got)), nil
}

// serviceRoute is a route of a Service that sets the header `variant` on the way to its own endpoints.
func serviceRoute(kind, name, namespace, parent, variant, service string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: %s
metadata: {name: %s, namespace: %s}
spec:
  parentRefs: [{group: "", kind: Service, %s}]
  rules:
  - filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: variant, value: %s}]}}]
    backendRefs: [{%s, port: 8080}]
---
`, kind, name, namespace, parent, variant, service)
}

// meshLoads are requests of a pod: on kept connections, and on a connection each.
func (s *stage) meshLoads(dial load.Dial, address string, check func(load.Request, load.Answer) error) loads {
	always := load.Always(load.Request{Host: "x", Path: "/"})
	return loads{
		"kept connections": load.Start(s.ctx, load.Plan{
			Address: address, Dial: dial, Rate: 100, Connections: 8, Request: always, Check: check,
		}),
		"a connection a request": load.Start(s.ctx, load.Plan{
			Address: address, Dial: dial, Rate: 50, Connections: 5, Request: always, Check: check, Once: true,
		}),
	}
}

// says waits until an object says this of a condition, with these words in its message.
func (s *stage) says(kind, name, condition, status, words string) {
	s.Helper()
	s.until(ample, fmt.Sprintf("%s %s: %s=%s, %q", kind, name, condition, status, words), func() (string, error) {
		object, err := cluster.Get(s.ctx, kind, s.namespace, name)
		if err != nil || object == nil {
			return "it is not there", err
		}
		found := scene.ConditionOf(object, condition)
		if strings.HasSuffix(kind, "Route") {
			found = scene.RouteCondition(object, condition)
		}
		if strings.HasSuffix(kind, "Policy") {
			found = scene.PolicyCondition(object, condition)
		}
		return missing(found.Status == status && strings.Contains(found.Message, words), found.String()), nil
	})
}

// nodesOf pods.
func nodesOf(pods []*scene.Object) []string {
	var nodes []string
	for _, pod := range pods {
		node, _, _ := unstructured.NestedString(pod.Object, "spec", "nodeName")
		if !slices.Contains(nodes, node) {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

var errBypassed = errors.New("it went around the waypoint")
