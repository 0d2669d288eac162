package behaviour

import (
	"fmt"
	"net"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

// gateway with one HTTP listener that takes routes of all namespaces; proxies as many as given.
func (s *stage) gateway(name string, replicas int) (address string) {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: fairway.dev/v1alpha1
kind: GatewayParameters
metadata: {name: %[1]s, namespace: NAMESPACE}
spec: {replicas: %[2]d}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: %[1]s, namespace: NAMESPACE}
spec:
  gatewayClassName: fairway
  infrastructure: {parametersRef: {group: fairway.dev, kind: GatewayParameters, name: %[1]s}}
  listeners:
  - {name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
`, name, replicas))
	address = net.JoinHostPort(s.programmed(name), "80")
	s.answers(address)
	return address
}

// answers waits until an address is one on this machine too: kube-proxy learns of a Service's address and endpoints a
// little later than the Gateway's status, and what it does until then says nothing about Fairway.
func (s *stage) answers(address string) {
	s.Helper()
	inARow := 0
	s.until(ample, address+" to answer", func() (string, error) {
		conn := load.NewConnection(address, nil)
		defer conn.Close()
		if _, err := conn.Do(s.ctx, load.Request{Host: "x", Path: "/"}); err != nil {
			inARow = 0
			return err.Error(), nil
		}
		inARow++
		return missing(inARow >= 5, "it answers at times only"), nil
	})
}

// programmed waits for a Gateway and returns its address.
func (s *stage) programmed(name string) (address string) {
	s.Helper()
	took := s.until(ample, "Gateway "+name+" to be programmed", func() (string, error) {
		gateway, err := cluster.Get(s.ctx, "Gateway", s.namespace, name)
		if err != nil || gateway == nil {
			return "no Gateway", err
		}
		condition := scene.ConditionOf(gateway, "Programmed")
		addresses := scene.Addresses(gateway)
		if condition.Status != "True" || condition.ObservedGeneration != gateway.GetGeneration() || len(addresses) == 0 {
			return fmt.Sprintf("Programmed: %s, addresses %v", condition, addresses), nil
		}
		address = addresses[0]
		return "", nil
	})
	s.Logf("Gateway %s is programmed after %.1f s, at %s", name, took.Seconds(), address)
	s.rolledOut(s.namespace, name+"-fairway")
	return address
}

// rolledOut waits until a Deployment is as it should be: every pod new, and ready; the old ones gone.
func (s *stage) rolledOut(namespace, name string) {
	s.Helper()
	s.until(ample, "Deployment "+name+" to be rolled out", func() (string, error) {
		deployment, err := cluster.Get(s.ctx, "Deployment", namespace, name)
		if err != nil || deployment == nil {
			return "no Deployment", err
		}
		number := func(fields ...string) int64 {
			value, _, _ := unstructured.NestedInt64(deployment.Object, fields...)
			return value
		}
		want := number("spec", "replicas")
		now := []int64{number("status", "updatedReplicas"), number("status", "availableReplicas"), number("status", "replicas")}
		for _, count := range now {
			if count != want || number("status", "observedGeneration") != deployment.GetGeneration() {
				return fmt.Sprintf("want %d pods; updated, available, all: %v", want, now), nil
			}
		}
		return "", nil
	})
}

// restart rolls a Deployment, as `kubectl rollout restart` does, and waits for the end.
func (s *stage) restart(namespace, name string) {
	s.Helper()
	s.startRestart(namespace, name)
	s.rolledOut(namespace, name)
}

func (s *stage) startRestart(namespace, name string) {
	s.Helper()
	s.must(s.patch("Deployment", namespace, name, fmt.Sprintf(
		`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))))
}

// backends are pods that answer, each behind a Service of its own name, and all behind the Service `backend`.
func (s *stage) backends(names ...string) map[string]*scene.Object {
	s.Helper()
	var text strings.Builder
	service := `
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: NAMESPACE}
spec:
  selector: {%s}
  ports: [{name: one, port: 8080}, {name: two, port: 8081}]
---
`
	fmt.Fprintf(&text, service, "backend", "app: backend")
	for _, name := range names {
		fmt.Fprintf(&text, service, name, "pod: "+name)
		fmt.Fprintf(&text, `
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: NAMESPACE, labels: {app: backend, pod: %[1]s}}
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: backend
    image: %[2]s
    imagePullPolicy: IfNotPresent
    env: [{name: POD_NAME, value: %[1]s}]
    readinessProbe: {tcpSocket: {port: 9000}, periodSeconds: 1}
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
`, name, *image)
	}
	s.apply(text.String())
	pods := map[string]*scene.Object{}
	for _, name := range names {
		s.until(ample, "pod "+name, func() (string, error) {
			pod, err := cluster.Get(s.ctx, "Pod", s.namespace, name)
			if err != nil {
				return "", err
			}
			pods[name] = pod
			condition := scene.ConditionOf(pod, "Ready")
			return missing(condition.Status == "True", condition.String()), nil
		})
	}
	return pods
}

func podIP(pod *scene.Object) string {
	ip, _, _ := unstructured.NestedString(pod.Object, "status", "podIP")
	return ip
}

// route from a path to a Service's port 8080.
func route(name, namespace, gateway, path, service string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s, namespace: %s}
spec:
  parentRefs: [{name: %s}]
  rules:
  - matches: [{path: {type: PathPrefix, value: %s}}]
    backendRefs: [{name: %s, port: 8080}]
---
`, name, namespace, gateway, path, service)
}
