package behaviour

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
)

const (
	// The shortest there can be.
	certificateLifetime = time.Minute
	// More than kubelet takes to bring a changed ConfigMap into a pod.
	rootOverlap = 2 * time.Minute
	// Certificates of one pod that are to be seen before roots are rotated: it was renewed one time less.
	certificatesSeen = 5
)

var _ = promised(TestMeshCertificatesRotate, beforeRelease,
	"Certificates of one minute are renewed, and the roots replaced as docs/installing.md says, under requests from pod to pod, through a waypoint and through a Gateway: 0 faults.")

// Certificates live a minute, and the roots are replaced as docs/installing.md says, under requests from pod to pod, through
// a waypoint and through a Gateway: none fails.
func TestMeshCertificatesRotate(t *testing.T) {
	s := begin(t, "certificates")
	s.installedWith(fmt.Sprintf("certificates.lifetime=%.0fs,certificates.rootOverlap=%.0fs", certificateLifetime.Seconds(), rootOverlap.Seconds()))
	pods := s.meshedPair()
	s.pod("routed", s.nodes()[1], "", "", "")
	s.ready("routed")
	s.apply(serviceRoute("HTTPRoute", "routed", s.namespace, "name: routed", "routed", "name: routed"))
	s.says("HTTPRoute", "routed", "fairway.dev/Enforced", "True", "")
	address := s.gateway("gw", 2)
	s.apply(route("outside", s.namespace, "gw", "/", "server"))
	s.servedByAll(address, 2)

	clients := map[string]*client{}
	for name, to := range map[string]string{"pod to pod": "server", "through a waypoint": "routed"} {
		clients[name+", kept connections"] = s.requests("client", port(to, 8080), 50, 4)
		clients[name+", a connection a request"] = s.requests("client", port(to, 8080), 25, 4, "-once")
	}
	kept := s.streams("client", port("server", 7002), 20, 250*time.Millisecond)
	throughGateway := s.meshLoads(nil, address, nil)

	looked := map[string]string{"a pod": podIP(pods[1]), "a waypoint": podIP(s.proxies("waypoint")[0])}
	s.part("certificates are renewed", func(s *stage) {
		seen := map[string]map[string]bool{}
		took := s.until(certificatesSeen*certificateLifetime, "all to have had other certificates", func() (string, error) {
			fewest := certificatesSeen
			for name, ip := range looked {
				shown, err := certificateOf(ip)
				if err != nil {
					return name + ": " + err.Error(), nil
				}
				if seen[name] == nil {
					seen[name] = map[string]bool{}
				}
				seen[name][shown.SerialNumber.String()] = true
				fewest = min(fewest, len(seen[name]))
			}
			return missing(fewest == certificatesSeen, fmt.Sprintf("one had %d", fewest)), nil
		})
		s.figure(fmt.Sprintf("each had %d certificates within", certificatesSeen), took.Seconds(), "s", nil)
	})
	s.part("roots are rotated", func(s *stage) {
		first := s.signer(looked)
		start := time.Now()
		second := s.rotateRoots(looked)
		s.figure("all have certificates of the new root after", time.Since(start).Seconds(), "s", record.AtLeast(rootOverlap.Seconds()))
		// What the first has signed before this test lived for longer. The second has only signed for minutes.
		start = time.Now()
		s.rotateRoots(looked)
		s.until(2*certificateLifetime+time.Minute, "the second root to be forgotten", func() (string, error) {
			now := s.trustedRoots(systemNamespace, "fairway-roots")
			return missing(!slices.Contains(now, second), fmt.Sprint(now)), nil
		})
		s.figure("a root is forgotten after", time.Since(start).Seconds(), "s", record.AtLeast((rootOverlap + certificateLifetime).Seconds()))
		s.until(joinLimit, "a Gateway to be told", func() (string, error) {
			now := s.trustedRoots(s.namespace, "gw-fairway")
			return missing(!slices.Contains(now, second), fmt.Sprint(now)), nil
		})
		if now := s.trustedRoots(systemNamespace, "fairway-roots"); !slices.Contains(now, first) {
			s.Errorf("%s is forgotten although certificates of a day may be in use: %v", first, now)
		}
		// A last certificate of the second root would be seen now.
		s.watch(certificateLifetime / 2)
	})
	s.flawless("streams", s.stop(kept))
	for name, client := range clients {
		s.flawless(name, s.stop(client))
	}
	throughGateway.end(s)
}

// rotateRoots asks for a new root as docs/installing.md says, and waits until it has signed what is shown at these addresses.
func (s *stage) rotateRoots(looked map[string]string) (signer string) {
	s.Helper()
	old, trusted := s.signer(looked), len(s.trustedRoots(systemNamespace, "fairway-roots"))
	_, err := s.run(*kubectl, "-n", systemNamespace, "annotate", "secret", "fairway-ca", "fairway.dev/rotate=now")
	s.must(err)
	s.until(30*time.Second, "one more root to be trusted", func() (string, error) {
		now := s.trustedRoots(systemNamespace, "fairway-roots")
		return missing(len(now) == trusted+1, fmt.Sprint(now)), nil
	})
	secret, err := cluster.Get(s.ctx, "Secret", systemNamespace, "fairway-ca")
	s.must(err)
	if _, is := secret.GetAnnotations()["fairway.dev/rotate"]; is {
		s.Error("the annotation is still there")
	}
	if now := s.signer(looked); now != old {
		s.Errorf("the new root signs at once: %s", now)
	}
	for name, ip := range looked {
		s.until(rootOverlap+2*certificateLifetime, name+" to have a certificate of the new root", func() (string, error) {
			shown, err := certificateOf(ip)
			return missing(err == nil && shown.Issuer.CommonName != old, "it has not"), nil
		})
	}
	return s.signer(looked)
}

// signer of the certificates that are shown at these addresses: one root of all.
func (s *stage) signer(looked map[string]string) (name string) {
	s.Helper()
	for where, ip := range looked {
		shown, err := certificateOf(ip)
		s.must(err)
		if issuer := shown.Issuer.CommonName; name != "" && issuer != name {
			s.Fatalf("%s has a certificate of %s, another of %s", where, issuer, name)
		}
		name = shown.Issuer.CommonName
	}
	return name
}

// certificateOf is what is shown at a tunnel's port; who looks has no certificate, and gets no further.
func certificateOf(ip string) (*x509.Certificate, error) {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", port(ip, tunnelPort), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// trustedRoots are the names of the roots in a ConfigMap.
func (s *stage) trustedRoots(namespace, name string) (names []string) {
	s.Helper()
	object, err := cluster.Get(s.ctx, "ConfigMap", namespace, name)
	s.must(err)
	if object == nil {
		s.Fatalf("no ConfigMap %s/%s", namespace, name)
	}
	text, _, _ := unstructured.NestedString(object.Object, "data", "ca.crt")
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		root, err := x509.ParseCertificate(block.Bytes)
		s.must(err)
		names = append(names, root.Subject.CommonName)
	}
	return names
}
