package behaviour

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairway-mesh/fairway/conformance/behaviour/peer"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
	"github.com/fairway-mesh/fairway/conformance/behaviour/wire"
)

var _ = promised(TestMeshDualStack, onDualStack,
	"A client's connection keeps the IP family it dialled, in a tunnel, through a waypoint and from a Gateway; nothing in plaintext.")

// Whatever family a client dials: it meets the pod by that family, in a tunnel, and under the Service's routes.
func TestMeshDualStack(t *testing.T) {
	s := begin(t, "dual")
	pods := s.meshedPair()
	client, server := pods[0], pods[1]
	if len(podIPs(server)) < 2 {
		s.unable(*when == string(onDualStack), "the cluster has IPv4 only; `fwcluster up --dual-stack` makes one that has both")
	}
	for name, fields := range map[string]string{
		"both": "ipFamilyPolicy: RequireDualStack",
		"six":  "ipFamilies: [IPv6]",
	} {
		s.apply(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: NAMESPACE}
spec: {selector: {pod: server}, %s, ports: [{name: web, port: 8080}, {name: greeting, port: 7001}, {name: digest, port: 7003}]}
`, name, fields))
	}
	dial := s.from(client)
	services := append(s.clusterIPs("both"), s.clusterIPs("six")...)
	if len(services) != 3 {
		s.Fatalf("the Services have %v", services)
	}
	tap := s.tapBetween(append(podIPs(client), podIPs(server)...)...)
	// A Service that the client's tunnel has not been sent yet is reached past the tunnels.
	for _, ip := range services {
		s.until(sentWithin, ip+" to be reached through the tunnels", func() (string, error) {
			s.forget(tap)
			_, err := s.ask(dial, net.JoinHostPort(ip, "8080"), "/")
			ports := s.flows(tap).Ports()
			return missing(err == nil && len(ports) == 1 && ports[0] == tunnelPort, fmt.Sprintf("%v, by ports %v", err, ports)), nil
		})
	}
	s.forget(tap)

	s.part("by the address dialled", func(s *stage) {
		for _, ip := range append(services, podIPs(server)...) {
			s.until(sentWithin, ip+" to answer", func() (string, error) {
				answer, err := s.ask(dial, net.JoinHostPort(ip, "8080"), "/")
				return missing(err == nil && answer.Header.Get("pod") == "server", fmt.Sprintf("status %d, %v", answer.Status, err)), nil
			})
			answer, err := s.ask(dial, net.JoinHostPort(ip, "8080"), "/")
			s.must(err)
			seen := answer.Header.Get("client")
			if from, err := netip.ParseAddrPort(seen); err != nil || !slices.Contains(podIPs(client), from.Addr().String()) || from.Addr().Is6() != netip.MustParseAddr(ip).Is6() {
				s.Errorf("asked at %s, the server saw %s, want the client's own address of that family", ip, seen)
			}
		}
	})
	s.part("bytes over IPv6", func(s *stage) {
		six := s.clusterIPs("six")[0]
		s.well("a server that speaks first", "client", net.JoinHostPort(six, "7001"), peer.Greeting, "-times", "50")
		s.well("large, half closed", "client", net.JoinHostPort(six, "7003"), peer.Digest, "-bytes", "20000000")
	})
	s.onlyTunnels(tap)
	s.bothFamilies(tap)
	s.part("a strict pod, from outside the mesh", func(s *stage) {
		s.label("Pod", s.namespace, "server", "fairway.dev/mtls", "strict")
		for _, ip := range podIPs(server) {
			s.until(ample, ip+" to refuse plaintext", func() (string, error) {
				return missing(s.plain(ip, 7002) != "", "it answers"), nil
			})
		}
		s.label("Pod", s.namespace, "server", "fairway.dev/mtls", "")
	})
	s.part("through a waypoint", func(s *stage) {
		for _, service := range []string{"both", "six"} {
			s.apply(serviceRoute("HTTPRoute", service, s.namespace, "name: "+service, "routed", "name: "+service))
		}
		for _, ip := range services {
			s.variant(dial, net.JoinHostPort(ip, "8080"), "routed", ample)
		}
		for _, ip := range podIPs(server) {
			s.variant(dial, net.JoinHostPort(ip, "8080"), "", enforcedWithin)
		}
		s.forget(tap)
		among := s.tapBetween(append(podIPs(client, server), podIPs(s.proxies("waypoint")...)...)...)
		for _, ip := range services {
			s.variant(dial, net.JoinHostPort(ip, "8080"), "routed", enforcedWithin)
		}
		s.onlyTunnels(among)
	})
	s.part("a Gateway, to a Service of IPv6 only", func(s *stage) {
		address := s.gateway("gw", 1)
		s.apply(route("six-outside", s.namespace, "gw", "/", "six"))
		s.until(ample, "the Gateway to reach it", func() (string, error) {
			answer, err := s.ask(nil, address, "/")
			return missing(err == nil && answer.Status == 200 && answer.Header.Get("pod") == "server", fmt.Sprintf("status %d, %v", answer.Status, err)), nil
		})
	})
}

// bothFamilies wants that something was said by each.
func (s *stage) bothFamilies(tap *wire.Tap) {
	s.Helper()
	families := map[bool]bool{}
	flows := s.flows(tap)
	for flow := range flows {
		families[flow.Server.Is6()] = true
	}
	if len(families) != 2 {
		s.Errorf("not both families on the wire: %s", flows)
	}
}

// podIPs are all the addresses of pods.
func podIPs(pods ...*scene.Object) []string {
	var all []string
	for _, pod := range pods {
		list, _, _ := unstructured.NestedSlice(pod.Object, "status", "podIPs")
		for _, it := range list {
			if entry, is := it.(map[string]any); is {
				all = append(all, fmt.Sprint(entry["ip"]))
			}
		}
	}
	return all
}

// clusterIPs are all the addresses of a Service.
func (s *stage) clusterIPs(name string) []string {
	s.Helper()
	service := s.get("Service", name)
	if service == nil {
		s.Fatalf("no Service %s", name)
	}
	all, _, _ := unstructured.NestedStringSlice(service.Object, "spec", "clusterIPs")
	return all
}
