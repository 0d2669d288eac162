package behaviour

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

// gRPC's words for yes and for "you may not".
const (
	granted          = 0
	permissionDenied = 7
)

var _ = promised(TestStolenToken, beforeRelease,
	"The token of a node's tunnel gives the identities of that node's pods, and of no others.")

// Who steals the token of a node's tunnel gets the identities of that node's pods, and of no other's.
func TestStolenToken(t *testing.T) {
	s := begin(t, "token")
	s.meshed()
	s.apply(serviceAccountOn("n1") + serviceAccountOn("n2"))
	for _, node := range []string{"n1", "n2"} {
		s.until(ample, "pod "+node, func() (string, error) {
			pod, err := cluster.Get(s.ctx, "Pod", s.namespace, node)
			if err != nil || pod == nil {
				return "it is not there", err
			}
			ready := scene.ConditionOf(pod, "Ready")
			return missing(ready.Status == "True", ready.String()), nil
		})
	}
	for _, tunnel := range s.pods(systemNamespace, ztunnelLabel) {
		node, _, _ := unstructured.NestedString(tunnel.Object, "spec", "nodeName")
		token, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/var/run/fairway.dev/token/token", s.process(tunnel, "fairway-ztunnel")))
		s.must(err)
		for _, whose := range []string{"n1", "n2"} {
			code, message := s.issue(strings.TrimSpace(string(token)), fmt.Sprintf("spiffe://cluster.local/ns/%s/sa/%s", s.namespace, whose))
			wanted := permissionDenied
			if node == whose {
				wanted = granted
			}
			if code != wanted {
				s.Errorf("with the token of %s for a pod on %s: code %d (%s), want %d", node, whose, code, message, wanted)
			}
		}
		if code, message := s.issue(strings.TrimSpace(string(token)), "spiffe://cluster.local/ns/kube-system/sa/coredns"); code != permissionDenied {
			s.Errorf("with the token of %s for a pod outside the mesh: code %d (%s)", node, code, message)
		}
	}
	if code, message := s.issue("forged", fmt.Sprintf("spiffe://cluster.local/ns/%s/sa/n1", s.namespace)); code == granted {
		s.Errorf("with a forged token: granted, %s", message)
	}
}

// serviceAccountOn is a pod with an identity of its own, on a node.
func serviceAccountOn(node string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s, namespace: NAMESPACE}
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: NAMESPACE}
spec:
  nodeName: %[1]s
  serviceAccountName: %[1]s
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 1
  containers: [{name: backend, image: %[2]s, imagePullPolicy: IfNotPresent}]
---
`, node, *image)
}

// issue asks the controller for a certificate, as a tunnel does; it returns gRPC's code.
func (s *stage) issue(token, identity string) (code int, message string) {
	s.Helper()
	service, err := cluster.Get(s.ctx, "Service", systemNamespace, controllerName)
	s.must(err)
	ip, _, _ := unstructured.NestedString(service.Object, "spec", "clusterIP")
	published, err := cluster.Get(s.ctx, "ConfigMap", systemNamespace, "fairway-roots")
	s.must(err)
	text, _, _ := unstructured.NestedString(published.Object, "data", "ca.crt")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(text))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	s.must(err)

	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots, ServerName: controllerName + "." + systemNamespace + ".svc"},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(ip, "15010"))
		},
	}
	defer transport.CloseIdleConnections()
	body := issueRequest(identity, request)
	call, err := http.NewRequestWithContext(s.ctx, http.MethodPost, "https://"+controllerName+"."+systemNamespace+".svc/fairway.identity.v1.Identity/Issue", bytes.NewReader(body))
	s.must(err)
	call.Header.Set("Content-Type", "application/grpc")
	call.Header.Set("TE", "trailers")
	call.Header.Set("Authorization", "Bearer "+token)
	response, err := transport.RoundTrip(call)
	s.must(err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	s.must(err)
	said := response.Trailer
	if response.Header.Get("Grpc-Status") != "" {
		said = response.Header
	}
	code, err = strconv.Atoi(said.Get("Grpc-Status"))
	s.must(err)
	return code, said.Get("Grpc-Message")
}

// issueRequest is a gRPC frame with fairway.identity.v1.IssueRequest: two fields of bytes.
func issueRequest(identity string, request []byte) []byte {
	var message []byte
	for number, value := range map[byte][]byte{1: []byte(identity), 2: request} {
		message = append(message, number<<3|2)
		message = binary.AppendUvarint(message, uint64(len(value)))
		message = append(message, value...)
	}
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return append(frame, message...)
}
