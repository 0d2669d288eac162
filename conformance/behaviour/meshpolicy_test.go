package behaviour

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

var _ = promised(TestMeshNetworkPolicies, everyChange,
	"NetworkPolicy rules before a pod mean what docs/mesh.md says.")

// What docs/mesh.md says of NetworkPolicies. The trial CNI enforces none; the rules that another one would load for the server's pod
// are loaded here, where it would: on the node, on the way to the pod.
func TestMeshNetworkPolicies(t *testing.T) {
	s := beginBeside(t, "policies")
	if !*own {
		s.unable(*own, "the rules of nodes elsewhere cannot be loaded")
	}
	nodes := s.nodes()
	s.meshed()
	// The tests run on the network of the first node.
	s.pod("server", nodes[0], "", "", "")
	s.pod("near", nodes[0], "", "", "")
	s.pod("far", nodes[1], "", "", "")
	s.pod("outside", nodes[1], ", fairway.dev/mesh: disabled", "", "")
	all := s.ready("server", "near", "far", "outside")
	s.captured("server", "near", "far")
	server, near, far, outside := all[0], all[1], all[2], all[3]
	clients := map[string]load.Dial{"near": s.from(near), "far": s.from(far), "outside": s.from(outside)}
	web, other := port(podIP(server), 8080), port(podIP(server), 8081)
	service := s.serviceAddress("server", 8080)

	// reaches wants these, and only these, to be answered at an address.
	reaches := func(s *stage, address string, wanted ...string) {
		s.Helper()
		slices.Sort(wanted)
		// Twice in a row: what is loaded breaks the tunnels that are open, and who fails for that is not shut out.
		inARow := 0
		s.until(ample, fmt.Sprintf("%s to be reached by %q", address, wanted), func() (string, error) {
			met := []string{}
			for _, name := range slices.Sorted(maps.Keys(clients)) {
				if answer, err := s.ask(clients[name], address, "/"); err == nil && answer.Status == 200 {
					met = append(met, name)
				}
			}
			if inARow++; !slices.Equal(met, wanted) {
				inARow = 0
			}
			return missing(inARow == 2, fmt.Sprintf("it is by %q", met)), nil
		})
	}
	allow := func(s *stage, peers []*scene.Object, ports string) { s.policy(server, peers, ports) }
	s.part("without one", func(s *stage) {
		reaches(s, web, "near", "far", "outside")
	})
	s.part("that selects peers", func(s *stage) {
		allow(s, []*scene.Object{far}, "")
		reaches(s, web, "far")
		reaches(s, service, "far")
		allow(s, []*scene.Object{near, outside}, "")
		reaches(s, web, "near", "outside")
	})
	s.part("that allows the program's port", func(s *stage) {
		allow(s, nil, "8080")
		reaches(s, web, "outside")
		allow(s, nil, "8080, 15008")
		reaches(s, web, "near", "far", "outside")
		reaches(s, other, "near", "far")
	})
	s.part("that allows the tunnel's port, to some", func(s *stage) {
		allow(s, []*scene.Object{far}, "15008")
		reaches(s, web, "far")
		reaches(s, other, "far")
	})
	s.part("that denies everything", func(s *stage) {
		allow(s, []*scene.Object{}, "")
		reaches(s, web)
	})
	s.part("where the Service has a waypoint", func(s *stage) {
		allow(s, nil, "")
		s.apply(serviceRoute("HTTPRoute", "server", s.namespace, "name: server", "routed", "name: server"))
		for _, name := range []string{"near", "far"} {
			s.variant(clients[name], service, "routed", ample)
		}
		s.rolledOut(s.namespace, "waypoint-fairway-waypoint")
		allow(s, []*scene.Object{near, far}, "15008")
		reaches(s, service)
		allow(s, s.proxies("waypoint"), "15008")
		reaches(s, service, "near", "far")
		reaches(s, web)
	})
}

// policy loads what a CNI would for a NetworkPolicy that allows ingress to a pod from these peers (nil: from all) to these ports
// (none: to all), instead of what was loaded before.
func (s *stage) policy(pod *scene.Object, peers []*scene.Object, ports string) {
	s.Helper()
	const table = "inet behaviour-policy"
	allowed := "tcp dport 0-65535"
	if ports != "" {
		allowed = fmt.Sprintf("tcp dport { %s }", ports)
	}
	var rules strings.Builder
	if peers == nil {
		fmt.Fprintf(&rules, "ip daddr %s %s accept\n", podIP(pod), allowed)
	}
	for _, peer := range peers {
		fmt.Fprintf(&rules, "ip daddr %s ip saddr %s %s accept\n", podIP(pod), podIP(peer), allowed)
	}
	nft := func(text string) error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("nft: %w: %s\n%s", err, out, text)
		}
		return nil
	}
	s.Cleanup(func() { _ = nft(fmt.Sprintf("table %[1]s\ndelete table %[1]s\n", table)) })
	// Connections that are open are judged, too: tunnels stay open. A reset tells both ends at once what they would find out by waiting.
	s.must(nft(fmt.Sprintf(`table %[1]s
delete table %[1]s
table %[1]s {
	chain forward {
		type filter hook forward priority filter + 5; policy accept;
		ct direction reply accept
		%[2]s
		ip daddr %[3]s meta l4proto tcp reject with tcp reset
	}
}
`, table, rules.String(), podIP(pod))))
}
