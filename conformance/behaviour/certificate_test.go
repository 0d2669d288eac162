package behaviour

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

const (
	certificateConnections = 8
	certificateLimit       = 5 * time.Second
	hostname               = "secure.behaviour.test"
)

var _ = promised(TestCertificateRotated, everyChange,
	"A listener's Secret is rotated, becomes garbage three times and is repaired: 0 faults, no connection dropped, the last good certificate stays in use.")

// The Secret of an HTTPS listener is rotated, becomes garbage, and is well again, under load on kept connections.
func TestCertificateRotated(t *testing.T) {
	s := beginBeside(t, "certificate")
	s.backends("a")
	first, second, third := newPair(s, 1), newPair(s, 2), newPair(s, 3)
	s.secret(first.certificate, first.key)
	s.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: NAMESPACE}
spec:
  gatewayClassName: fairway
  listeners:
  - name: https
    port: 443
    protocol: HTTPS
    hostname: ` + hostname + `
    tls: {certificateRefs: [{name: pair}]}
---` + route("all", s.namespace, "gw", "/", "a"))
	address := net.JoinHostPort(s.programmed("gw"), "443")
	s.serves(address, first)

	run := load.Start(s.ctx, load.Plan{
		Address: address, TLS: clientTLS(), Rate: 100, Connections: certificateConnections,
		Request: load.Always(load.Request{Host: hostname, Path: "/"}),
	})
	s.carry(time.Second, run)

	start := time.Now()
	s.secret(second.certificate, second.key)
	s.figure("rotated to served", milliseconds(s.serves(address, second).Sub(start)), "ms", record.AtMost(milliseconds(certificateLimit)))
	s.listener("ResolvedRefs", "True")

	for name, broken := range map[string][2][]byte{
		"garbage":           {[]byte("garbage"), []byte("garbage")},
		"another's key":     {third.certificate, first.key},
		"a certificate cut": {third.certificate[:len(third.certificate)/2], third.key},
	} {
		start = time.Now()
		s.secret(broken[0], broken[1])
		s.listener("ResolvedRefs", "False")
		s.figure(name+": status says so after", milliseconds(time.Since(start)), "ms", record.AtMost(milliseconds(certificateLimit)))
		gateway := s.get("Gateway", "gw")
		condition := scene.ListenerCondition(gateway, "https", "ResolvedRefs")
		s.Logf("%s: %s; Programmed of the listener: %s", name, condition, scene.ListenerCondition(gateway, "https", "Programmed"))
		if condition.Reason != "InvalidCertificateRef" {
			s.Errorf("%s: reason %s, want InvalidCertificateRef", name, condition.Reason)
		}
		// The last good one stays, for new connections too.
		for range 10 {
			if got := s.shown(address); !bytes.Equal(got, second.raw) {
				s.Errorf("%s: new connections do not get the last good certificate any more", name)
				break
			}
			s.watch(50 * time.Millisecond)
		}
		s.secret(second.certificate, second.key)
		s.listener("ResolvedRefs", "True")
	}

	start = time.Now()
	s.secret(third.certificate, third.key)
	s.figure("repaired to served", milliseconds(s.serves(address, third).Sub(start)), "ms", record.AtMost(milliseconds(certificateLimit)))
	result := run.Stop()
	s.noFaults("load", result)
	s.figure("connections", float64(result.Dials), "", record.AtMost(certificateConnections))
}

// serves waits until new connections get this certificate, and no other any more.
func (s *stage) serves(address string, want pair) time.Time {
	s.Helper()
	inARow, since := 0, time.Time{}
	s.until(appearLimit, "the new certificate to be served", func() (string, error) {
		if !bytes.Equal(s.shown(address), want.raw) {
			inARow = 0
			return "another is served", nil
		}
		if inARow++; inARow == 1 {
			since = time.Now()
		}
		return missing(inARow >= 5, "it is served for a moment only"), nil
	})
	return since
}

// shown is the certificate that a new connection gets; none if it fails.
func (s *stage) shown(address string) []byte {
	conn := load.NewConnection(address, clientTLS())
	defer conn.Close()
	if answer, err := conn.Do(s.ctx, load.Request{Host: hostname, Path: "/"}); err != nil || answer.Status != 200 {
		return nil
	}
	return conn.Certificate()
}

func (s *stage) listener(kind, status string) {
	s.Helper()
	s.until(appearLimit, kind+" of the listener to be "+status, func() (string, error) {
		gateway, err := cluster.Get(s.ctx, "Gateway", s.namespace, "gw")
		if err != nil {
			return "", err
		}
		condition := scene.ListenerCondition(gateway, "https", kind)
		return missing(condition.Status == status, condition.String()), nil
	})
}

func (s *stage) secret(certificate, key []byte) {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: pair, namespace: NAMESPACE}
type: kubernetes.io/tls
data: {tls.crt: %s, tls.key: %s}
`, base64.StdEncoding.EncodeToString(certificate), base64.StdEncoding.EncodeToString(key)))
}

// pair is a certificate, its key, and what a client sees of it.
type pair struct{ certificate, key, raw []byte }

func newPair(s *stage, serial int64) pair {
	s.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	template := x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: hostname}, DNSNames: []string{hostname},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	raw, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	s.must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	s.must(err)
	return pair{
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}),
		key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
		raw:         raw,
	}
}

// clientTLS takes any certificate: which one it is, is what is tested. Sessions are not resumed.
func clientTLS() *tls.Config {
	return &tls.Config{ServerName: hostname, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
}
