package behaviour

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
)

var _ = promised(TestClientPolicies, everyChange,
	"A ClientPolicy has a Gateway take the PROXY protocol from trusted addresses alone: backends and AccessPolicies see the client that the header names, and no header of a request changes that.")

// What docs/client-policy.md says, on the cluster.
func TestClientPolicies(t *testing.T) {
	s := beginBeside(t, "client")
	nodes := s.nodes()
	for i, name := range []string{"balancer", "stranger", "shop"} {
		s.pod(name, nodes[i%len(nodes)], "", "", "")
	}
	all := s.ready("balancer", "stranger", "shop")
	balancer, stranger := s.from(all[0]), s.from(all[1])
	s.gateway("edge", 1)
	s.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: edge, namespace: NAMESPACE}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: shop, port: 8080}]}]
`)
	// Straight to the proxy's pod: on the way through a Service the address of the peer may be another one.
	address := port(podIP(s.proxies("edge")[0]), 80)
	const client, other, forged = "203.0.113.7", "203.0.113.8", "198.51.100.66"

	// gets waits until requests of a peer are answered with a status, and the backend is told of this client. Status 0: the connection
	// is closed without an answer.
	gets := func(s *stage, from load.Dial, header http.Header, status int, told string) {
		s.Helper()
		s.until(ample, fmt.Sprintf("status %d for client %q", status, told), func() (string, error) {
			conn := load.NewConnection(address, nil).From(from)
			defer conn.Close()
			answer, err := conn.Do(s.ctx, load.Request{Host: "x", Path: "/", Header: header})
			if err != nil {
				return missing(status == 0, err.Error()), nil
			}
			seen := answer.Header.Get("forwarded-for")
			is := answer.Status == status && (status != http.StatusOK || seen == told)
			return missing(is, fmt.Sprintf("status %d for client %q", answer.Status, seen)), nil
		})
	}
	lie := http.Header{"X-Forwarded-For": {forged}}

	s.part("without a policy", func(s *stage) {
		gets(s, balancer, lie, http.StatusOK, podIP(all[0]))
		gets(s, stranger, lie, http.StatusOK, podIP(all[1]))
	})
	s.part("PROXY protocol", func(s *stage) {
		s.apply(clientPolicy("edge", fmt.Sprintf("{source: ProxyProtocol, trustedCIDRs: [%s]}", podIP(all[0]))))
		s.says("ClientPolicy", "edge", "fairway.dev/Enforced", "True", "")
		gets(s, after(balancer, proxyHeader(client)), nil, http.StatusOK, client)
		gets(s, after(balancer, proxyHeader(client)), lie, http.StatusOK, client)
		// Without the header, and from elsewhere, nobody is served.
		gets(s, balancer, lie, 0, "")
		gets(s, stranger, nil, 0, "")
		gets(s, after(stranger, proxyHeader(client)), nil, 0, "")
	})
	s.part("judged by the address in the header", func(s *stage) {
		s.apply(accessPolicy("one-client", "{group: gateway.networking.k8s.io, kind: Gateway, name: edge}", fmt.Sprintf(`
  action: Allow
  rules: [{from: [{cidrs: [%s/32]}]}]`, client)))
		s.says("AccessPolicy", "one-client", "fairway.dev/Enforced", "True", "")
		gets(s, after(balancer, proxyHeader(client)), lie, http.StatusOK, client)
		gets(s, after(balancer, proxyHeader(other)), nil, http.StatusForbidden, "")
		gets(s, after(balancer, proxyHeader(other)), http.Header{"X-Forwarded-For": {client}}, http.StatusForbidden, "")
	})
	s.part("X-Forwarded-For", func(s *stage) {
		s.apply(clientPolicy("edge", fmt.Sprintf("{source: ForwardedFor, trustedCIDRs: [%s]}", podIP(all[0]))))
		s.says("ClientPolicy", "edge", "fairway.dev/Enforced", "True", "")
		gets(s, balancer, http.Header{"X-Forwarded-For": {forged + ", " + client}}, http.StatusOK, client)
		gets(s, balancer, http.Header{"X-Forwarded-For": {client + ", " + other}}, http.StatusForbidden, "")
		gets(s, stranger, http.Header{"X-Forwarded-For": {client}}, http.StatusForbidden, "")
	})
	s.part("that cannot be carried out", func(s *stage) {
		s.apply(clientPolicy("edge", "{source: ForwardedFor, trustedCIDRs: [10.0.0.1/8]}"))
		s.says("ClientPolicy", "edge", "Accepted", "False", "trustedCIDRs[0]")
		gets(s, balancer, http.Header{"X-Forwarded-For": {client}}, http.StatusInternalServerError, "")
	})
}

func clientPolicy(gateway, address string) string {
	return fmt.Sprintf(`
apiVersion: fairway.dev/v1alpha1
kind: ClientPolicy
metadata: {name: %[1]s, namespace: NAMESPACE}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: %[1]s}]
  clientAddress: %[2]s
`, gateway, address)
}

// after opens connections that begin with these bytes.
func after(dial load.Dial, header []byte) load.Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if _, err := conn.Write(header); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return conn, nil
	}
}

// proxyHeader is one of version 2 of the PROXY protocol, for a connection over IPv4.
func proxyHeader(client string) []byte {
	source, destination := netip.MustParseAddr(client).As4(), netip.MustParseAddr("192.0.2.1").As4()
	header := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x21, 0x11, 0, 12)
	header = append(append(header, source[:]...), destination[:]...)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(header, 51234), 80)
}
