package behaviour

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

const (
	repairLimit = 5 * time.Second
	removeLimit = 60 * time.Second
	// Until a proxy is as it was after everything it has was deleted.
	recoverLimit = 60 * time.Second
)

// provisionedKinds of a Gateway.
var provisionedKinds = []string{"Deployment", "Service", "ServiceAccount", "ConfigMap", "PodDisruptionBudget"}

var _ = promised(TestProvisionedObjectsAreRepaired, beforeRelease,
	"What belongs to a Gateway is put back when somebody edits or deletes it; harmless edits by others stay.")

// What belongs to a Gateway is put back when somebody edits or deletes it, and edits of others that harm nothing stay.
func TestProvisionedObjectsAreRepaired(t *testing.T) {
	s := begin(t, "repair")
	s.gateway("gw", 1)
	const name = "gw-fairway"
	for _, c := range []struct {
		what, kind, change string
		wrong              func(*scene.Object) string
	}{
		{"image of the Deployment", "Deployment", `{"spec":{"template":{"spec":{"containers":[{"name":"waypoint","image":"broken"}]}}}}`, func(it *scene.Object) string {
			containers, _, _ := unstructured.NestedSlice(it.Object, "spec", "template", "spec", "containers")
			text := fmt.Sprint(containers)
			return missing(!strings.Contains(text, "broken") && strings.Contains(text, "fairway-waypoint"), text)
		}},
		{"replicas of the Deployment", "Deployment", `{"spec":{"replicas":3}}`, func(it *scene.Object) string {
			count, _, _ := unstructured.NestedInt64(it.Object, "spec", "replicas")
			return missing(count == 1, fmt.Sprint(count))
		}},
		{"selector of the Service", "Service", `{"spec":{"selector":{"gateway.networking.k8s.io/gateway-name":"another"}}}`, func(it *scene.Object) string {
			selector, _, _ := unstructured.NestedStringMap(it.Object, "spec", "selector")
			return missing(selector["gateway.networking.k8s.io/gateway-name"] == "gw", fmt.Sprint(selector))
		}},
		{"ports of the Service", "Service", `{"spec":{"ports":[{"name":"http","port":81,"targetPort":81}]}}`, func(it *scene.Object) string {
			// One of somebody else beside it leads nowhere, and stays.
			ports, _, _ := unstructured.NestedSlice(it.Object, "spec", "ports")
			for _, entry := range ports {
				port, _ := entry.(map[string]any)
				if fmt.Sprint(port["port"], port["targetPort"]) == "80 80" {
					return ""
				}
			}
			return fmt.Sprint(ports)
		}},
		{"roots in the ConfigMap", "ConfigMap", `{"data":{"ca.crt":"broken"}}`, func(it *scene.Object) string {
			text, _, _ := unstructured.NestedString(it.Object, "data", "ca.crt")
			return missing(strings.Contains(text, "BEGIN CERTIFICATE"), text)
		}},
		{"label of the ServiceAccount", "ServiceAccount", `{"metadata":{"labels":{"gateway.networking.k8s.io/gateway-name":"another"}}}`, func(it *scene.Object) string {
			return missing(it.GetLabels()["gateway.networking.k8s.io/gateway-name"] == "gw", fmt.Sprint(it.GetLabels()))
		}},
		{"PodDisruptionBudget", "PodDisruptionBudget", `{"spec":{"maxUnavailable":7}}`, func(it *scene.Object) string {
			most, _, _ := unstructured.NestedFieldNoCopy(it.Object, "spec", "maxUnavailable")
			return missing(fmt.Sprint(most) != "7", fmt.Sprint(most))
		}},
	} {
		s.part(c.what, func(s *stage) {
			start := time.Now()
			s.must(s.patch(c.kind, s.namespace, name, c.change))
			s.until(appearLimit, "it to be repaired", func() (string, error) {
				it, err := cluster.Get(s.ctx, c.kind, s.namespace, name)
				if err != nil || it == nil {
					return "it is not there", err
				}
				return c.wrong(it), nil
			})
			s.figure("repaired after", milliseconds(time.Since(start)), "ms", record.AtMost(milliseconds(repairLimit)))
		})
	}
	for _, kind := range provisionedKinds {
		s.part(kind+" deleted", func(s *stage) {
			// So that the pods have what they have from the object that goes.
			s.rolledOut(s.namespace, name)
			before := s.get(kind, name)
			if before == nil {
				s.Fatalf("there is no %s %s", kind, name)
			}
			start := time.Now()
			s.must(cluster.Delete(s.ctx, kind, s.namespace, name))
			s.until(appearLimit, "another to be made", func() (string, error) {
				now, err := cluster.Get(s.ctx, kind, s.namespace, name)
				return missing(now != nil && now.GetUID() != before.GetUID(), "there is none"), err
			})
			s.figure("made again after", milliseconds(time.Since(start)), "ms", record.AtMost(milliseconds(repairLimit)))
		})
	}
	s.part("a label of somebody else stays", func(s *stage) {
		s.must(s.patch("Service", s.namespace, name, `{"metadata":{"labels":{"behaviour.test/owner":"somebody"}}}`))
		s.must(s.patch("Gateway", s.namespace, "gw", `{"metadata":{"labels":{"behaviour.test/touched":"yes"}}}`))
		s.watch(2 * time.Second)
		if label := s.get("Service", name).GetLabels()["behaviour.test/owner"]; label != "somebody" {
			s.Errorf("the label is %q", label)
		}
	})
	// Its token was one of the ServiceAccount that was deleted, and kubelet keeps it for most of an hour. With the controller
	// restarted, the proxy has to show it again.
	s.part("and the proxy hears of new routes", func(s *stage) {
		s.restart(systemNamespace, controllerName)
		s.backends("a")
		s.apply(route("new", s.namespace, "gw", "/", "a"))
		took := s.until(recoverLimit, "a new route to be served", func() (string, error) {
			// The Service was deleted, so the address may be another.
			addresses := scene.Addresses(s.get("Gateway", "gw"))
			if len(addresses) == 0 {
				return "the Gateway has no address", nil
			}
			address := net.JoinHostPort(addresses[0], "80")
			conn := load.NewConnection(address, nil)
			defer conn.Close()
			answer, err := conn.Do(s.ctx, load.Request{Host: "x", Path: "/"})
			return missing(answer.Status == 200, fmt.Sprint(answer.Status)), err
		})
		s.figure("a new route is served after", took.Seconds(), "s", nil)
	})
}

var _ = promised(TestGatewayDeleted, everyChange,
	"With a Gateway goes everything that was made for it.")

// With its Gateway goes all that was made for it.
func TestGatewayDeleted(t *testing.T) {
	s := beginBeside(t, "deleted")
	s.gateway("gw", 1)
	for _, kind := range provisionedKinds {
		s.figure(kind+"s made", float64(len(s.made(kind, "gw"))), "", record.AtLeast(1))
	}
	start := time.Now()
	s.must(cluster.Delete(s.ctx, "Gateway", s.namespace, "gw"))
	for _, kind := range append(provisionedKinds, "Pod") {
		s.until(removeLimit, kind+"s to go", func() (string, error) {
			left := s.made(kind, "gw")
			return missing(len(left) == 0, fmt.Sprint(left)), nil
		})
	}
	s.figure("all gone after", time.Since(start).Seconds(), "s", record.AtMost(removeLimit.Seconds()))
}

// made for a Gateway: the names of a kind's objects.
func (s *stage) made(kind, gateway string) []string {
	s.Helper()
	objects, err := cluster.List(s.ctx, kind, s.namespace, "gateway.networking.k8s.io/gateway-name="+gateway)
	s.must(err)
	names := []string{}
	for _, object := range objects {
		names = append(names, object.GetName())
	}
	return names
}

var _ = promised(TestLongName, everyChange,
	"A Gateway with a name of 253 characters works.")

// A Gateway may have a name of 253 characters; Services and labels have 63.
func TestLongName(t *testing.T) {
	s := beginBeside(t, "long")
	s.backends("a")
	names := []string{
		strings.Repeat("a", 253),
		strings.Repeat("a", 252) + "b", // they differ where a cut would not show it
		strings.Repeat("x.", 126) + "y",
		strings.Repeat("d", 56), // one more than fits with the class behind it
	}
	for i, name := range names {
		s.part(fmt.Sprintf("%d characters, %d", len(name), i), func(s *stage) {
			s.apply(fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: %s, namespace: NAMESPACE}
spec: {gatewayClassName: fairway, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
`, name) + strings.Replace(route(fmt.Sprintf("r%d", i), s.namespace, name, fmt.Sprintf("/r%d", i), "a"), "---", "", 1))
			var address string
			s.until(ample, "the Gateway to be programmed", func() (string, error) {
				gateway, err := cluster.Get(s.ctx, "Gateway", s.namespace, name)
				if err != nil {
					return "", err
				}
				condition := scene.ConditionOf(gateway, "Programmed")
				if addresses := scene.Addresses(gateway); condition.Status == "True" && len(addresses) > 0 {
					address = addresses[0]
					return "", nil
				}
				return condition.String(), nil
			})
			s.reach(net.JoinHostPort(address, "80"), load.Request{Host: "x", Path: fmt.Sprintf("/r%d", i)}, 404, 200, appearLimit)
		})
	}
	services, err := cluster.List(s.ctx, "Service", s.namespace, "gateway.networking.k8s.io/gateway-class-name=fairway")
	s.must(err)
	s.figure("Services of their own", float64(len(services)), "", record.AtLeast(float64(len(names))))
}

var _ = promised(TestRestrictedNamespace, everyChange,
	"Proxies run in namespaces that enforce PodSecurity `restricted`, without a warning.")

// Proxies are let into namespaces that enforce PodSecurity `restricted`, without a warning.
func TestRestrictedNamespace(t *testing.T) {
	s := begin(t, "restricted")
	s.must(s.patch("Namespace", "", s.namespace,
		`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted","pod-security.kubernetes.io/enforce-version":"latest"}}}`))
	s.backends("a")
	address := s.gateway("gw", 1)
	s.apply(route("all", s.namespace, "gw", "/", "a"))
	s.reach(address, load.Request{Host: "x", Path: "/"}, 404, 200, appearLimit)
	// The system's own namespace can be so labelled, too.
	s.must(s.patch("Namespace", "", systemNamespace, `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`))
	s.Cleanup(func() {
		back := &stage{T: t, ctx: context.Background(), namespace: s.namespace}
		s.must(back.patch("Namespace", "", systemNamespace, `{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":null}}}`))
	})
	s.restart(systemNamespace, controllerName)
}

var _ = promised(TestKubectlShows, everyChange,
	"`kubectl get` and `kubectl describe` show addresses, conditions and Events.")

// What a person sees: columns and Events.
func TestKubectlShows(t *testing.T) {
	s := begin(t, "shows")
	s.backends("a")
	address := s.gateway("gw", 1)
	s.apply(route("good", s.namespace, "gw", "/", "a"))
	s.apply(route("lost", s.namespace, "gw", "/lost", "nobody"))
	s.apply(route("orphan", s.namespace, "gw", "/orphan", "a") + fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: refused, namespace: %s}
spec: {parentRefs: [{name: gw, sectionName: nothing}]}
`, s.namespace))
	host, _, err := net.SplitHostPort(address)
	s.must(err)
	s.part("the Gateway's columns", func(s *stage) {
		text, err := s.run(*kubectl, "-n", s.namespace, "get", "gateway", "gw")
		s.must(err)
		s.Logf("\n%s", text)
		for _, want := range []string{"CLASS", "ADDRESS", "PROGRAMMED", "fairway", host, "True"} {
			if !strings.Contains(text, want) {
				s.Errorf("no %s in what kubectl shows", want)
			}
		}
	})
	s.part("the GatewayClasses", func(s *stage) {
		text, err := s.run(*kubectl, "get", "gatewayclass")
		s.must(err)
		s.Logf("\n%s", text)
		for _, want := range []string{"fairway ", "fairway-waypoint", scene.ControllerName, "True"} {
			if !strings.Contains(text, want) {
				s.Errorf("no %q in what kubectl shows", want)
			}
		}
	})
	for _, c := range []struct{ kind, name, reason string }{
		{"Gateway", "gw", "Programmed"}, {"HTTPRoute", "good", "Accepted"},
		{"HTTPRoute", "lost", "BackendNotFound"}, {"HTTPRoute", "refused", "NoMatchingParent"},
	} {
		s.part(fmt.Sprintf("an Event on the %s %s", c.kind, c.name), func(s *stage) {
			s.until(appearLimit, "the Event "+c.reason, func() (string, error) {
				events, err := cluster.Core.EventsV1().Events(s.namespace).List(s.ctx, metav1.ListOptions{})
				if err != nil {
					return "", err
				}
				var others []string
				for _, event := range events.Items {
					if event.Regarding.Kind == c.kind && event.Regarding.Name == c.name {
						if event.Reason == c.reason {
							s.Logf("%s %s %s: %s", event.Type, event.ReportingController, event.Reason, event.Note)
							return "", nil
						}
						others = append(others, event.Reason)
					}
				}
				return fmt.Sprintf("it has %v", others), nil
			})
		})
	}
}
