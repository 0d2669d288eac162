package behaviour

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

var _ = promised(TestTrustBundles, everyChange,
	"A ClusterTrustBundle says whom a Gateway believes, of backends and of clients: an edit is followed, and one that is deleted is believed no more.")

// What docs/backends.md says of ClusterTrustBundles, on the cluster.
func TestTrustBundles(t *testing.T) {
	s := beginBeside(t, "bundles")
	first, second := newAuthority(s), newAuthority(s)
	server, client := first.issue(s, hostname), first.issue(s, "client")
	s.secret(server.certificate, server.key)
	node := s.nodes()[0]
	s.pod("shop", node, "", "volumes: [{name: tls, secret: {secretName: pair}}]", "volumeMounts: [{name: tls, mountPath: /tls}]")
	s.ready("shop")
	after := context.WithoutCancel(s.ctx)
	s.Cleanup(func() { _ = cluster.Delete(after, "ClusterTrustBundle", "", s.namespace+"-ca") })

	s.part("is claimed", func(s *stage) {
		s.until(ample, "the class to claim ClusterTrustBundle", func() (string, error) {
			class, err := cluster.Get(s.ctx, "GatewayClass", "", "fairway")
			if err != nil || class == nil {
				return "there is no class", err
			}
			var names []string
			features, _, _ := unstructured.NestedSlice(class.Object, "status", "supportedFeatures")
			for _, it := range features {
				if feature, is := it.(map[string]any); is {
					names = append(names, fmt.Sprint(feature["name"]))
				}
			}
			return missing(slices.Contains(names, "ClusterTrustBundle"), strings.Join(names, ", ")), nil
		})
	})
	s.part("of backends", func(s *stage) {
		address := s.gateway("edge", 1)
		s.apply(secureRoute)
		gets := func(status int) {
			s.Helper()
			s.until(ample, fmt.Sprintf("status %d", status), func() (string, error) {
				answer, err := s.ask(nil, address, "/")
				if err != nil {
					return err.Error(), nil
				}
				return missing(answer.Status == status, fmt.Sprintf("status %d", answer.Status)), nil
			})
		}
		s.says("BackendTLSPolicy", "secure", "ResolvedRefs", "False", "does not exist")
		gets(http.StatusInternalServerError)
		s.bundle(first)
		s.says("BackendTLSPolicy", "secure", "fairway.dev/Enforced", "True", "")
		gets(http.StatusOK)
		s.bundle(second)
		gets(http.StatusBadGateway)
		s.bundle(first)
		gets(http.StatusOK)
		s.must(cluster.Delete(s.ctx, "ClusterTrustBundle", "", s.namespace+"-ca"))
		gets(http.StatusInternalServerError)
		s.says("BackendTLSPolicy", "secure", "Accepted", "False", "")
	})
	s.part("of clients", func(s *stage) {
		s.bundle(first)
		s.apply(mutual)
		address := net.JoinHostPort(s.programmed("mutual"), "443")
		certificate, err := tls.X509KeyPair(client.certificate, client.key)
		s.must(err)
		known := clientTLS()
		known.Certificates = []tls.Certificate{certificate}
		// gets waits until a client is served, or refused.
		gets := func(config *tls.Config, served bool) {
			s.Helper()
			s.until(ample, fmt.Sprintf("served: %t", served), func() (string, error) {
				conn := load.NewConnection(address, config)
				defer conn.Close()
				answer, err := conn.Do(s.ctx, load.Request{Host: hostname, Path: "/"})
				if err != nil {
					return missing(!served, err.Error()), nil
				}
				return missing(served && answer.Status == http.StatusOK, fmt.Sprintf("status %d", answer.Status)), nil
			})
		}
		gets(known, true)
		gets(clientTLS(), false)
		s.bundle(second)
		gets(known, false)
		s.bundle(first)
		gets(known, true)
		s.must(cluster.Delete(s.ctx, "ClusterTrustBundle", "", s.namespace+"-ca"))
		gets(known, false)
		s.until(ample, "the listener to say why", func() (string, error) {
			gateway, err := cluster.Get(s.ctx, "Gateway", s.namespace, "mutual")
			if err != nil {
				return "", err
			}
			found := scene.ListenerCondition(gateway, "https", "ResolvedRefs")
			return missing(found.Reason == "InvalidCACertificateRef", found.String()), nil
		})
	})
}

// secureRoute leads to a Service that speaks TLS, whose authority is in a bundle.
const secureRoute = `
apiVersion: v1
kind: Service
metadata: {name: secure, namespace: NAMESPACE}
spec:
  selector: {pod: shop}
  ports: [{name: https, port: 443, targetPort: 8443}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: secure, namespace: NAMESPACE}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: secure, port: 443}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: secure, namespace: NAMESPACE}
spec:
  targetRefs: [{group: "", kind: Service, name: secure}]
  validation:
    hostname: ` + hostname + `
    caCertificateRefs: [{group: certificates.k8s.io, kind: ClusterTrustBundle, name: NAMESPACE-ca}]
`

// mutual is a Gateway that serves clients with a certificate of the authority in the bundle.
const mutual = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: mutual, namespace: NAMESPACE}
spec:
  gatewayClassName: fairway
  tls:
    frontend:
      default:
        validation: {caCertificateRefs: [{group: certificates.k8s.io, kind: ClusterTrustBundle, name: NAMESPACE-ca}]}
  listeners:
  - name: https
    port: 443
    protocol: HTTPS
    hostname: ` + hostname + `
    tls: {certificateRefs: [{name: pair}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: mutual, namespace: NAMESPACE}
spec:
  parentRefs: [{name: mutual}]
  rules: [{backendRefs: [{name: shop, port: 8080}]}]
`

// bundle makes an authority the one of the stage's bundle.
func (s *stage) bundle(it authority) {
	s.Helper()
	indented := strings.ReplaceAll(strings.TrimSpace(string(it.certificate)), "\n", "\n    ")
	s.apply(fmt.Sprintf(`
apiVersion: certificates.k8s.io/v1beta1
kind: ClusterTrustBundle
metadata: {name: NAMESPACE-ca}
spec:
  trustBundle: |
    %s
`, indented))
}

// authority signs certificates.
type authority struct {
	certificate []byte
	signed      *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(s *stage) authority {
	s.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	template := x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	s.must(err)
	signed, err := x509.ParseCertificate(raw)
	s.must(err)
	return authority{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), signed, key}
}

// issue a certificate for a name, of a server and of a client.
func (a authority) issue(s *stage, name string) pair {
	s.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	template := x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, &template, a.signed, key.Public(), a.key)
	s.must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	s.must(err)
	return pair{
		certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}),
		key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
		raw:         raw,
	}
}
