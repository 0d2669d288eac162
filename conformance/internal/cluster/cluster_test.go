package cluster

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

var layout = Layout{Cache: "/home/someone/.cache/fairway", Name: "main"}

func TestAddressesDoNotOverlap(t *testing.T) {
	machines := map[string]bool{controlIP: true, controlIP6: true}
	pods, pods6 := netip.MustParsePrefix(podCIDR), netip.MustParsePrefix(podCIDR6)
	for _, node := range Nodes() {
		for _, ip := range []string{node.IP, node.IP6} {
			if machines[ip] {
				t.Errorf("%s is taken twice", ip)
			}
			machines[ip] = true
		}
		if share := netip.MustParsePrefix(node.Pods); !pods.Contains(share.Addr()) {
			t.Errorf("%s has pods in %s, outside of %s", node.Name, share, pods)
		}
		if share := netip.MustParsePrefix(node.Pods6); !pods6.Contains(share.Addr()) {
			t.Errorf("%s has pods in %s, outside of %s", node.Name, share, pods6)
		}
	}
	ranges := []netip.Prefix{
		netip.MustParsePrefix("172.18.0.0/24"), pods, netip.MustParsePrefix(serviceCIDR), netip.MustParsePrefix(PoolCIDR),
		netip.MustParsePrefix("fd00:18::/64"), pods6, netip.MustParsePrefix(serviceCIDR6),
	}
	for i, a := range ranges {
		for _, b := range ranges[i+1:] {
			if a.Overlaps(b) {
				t.Errorf("%s and %s overlap", a, b)
			}
		}
	}
	if pool := netip.MustParsePrefix(PoolCIDR); !pool.Contains(netip.MustParseAddr(UsableAddress)) || pool.Contains(netip.MustParseAddr(UnusableAddress)) {
		t.Errorf("the pool %s must have %s and not %s", pool, UsableAddress, UnusableAddress)
	}
}

func TestUnixSocketsHaveShortPaths(t *testing.T) {
	long := Layout{Cache: "/home/somebody-with-a-long-name/.cache/fairway", Name: "pull-request-1234"}
	for _, name := range MachineNames() {
		if path := long.socket(name); len(path) > 107 {
			t.Errorf("%s has %d bytes", path, len(path))
		}
	}
}

func TestWhatANodeWritesIsItsOwn(t *testing.T) {
	for _, node := range Nodes() {
		spec := layout.nodeSpec(node)
		own := map[string]string{}
		for _, bind := range spec.Binds {
			if !strings.HasPrefix(bind.From, layout.machineDir(node.Name)+"/") {
				t.Errorf("%s of %s lies in %s", bind.To, node.Name, bind.From)
			}
			own[bind.To] = bind.From
		}
		for _, folder := range []string{"/opt/cni/bin", "/etc/cni/net.d", "/var/lib/kubelet", "/var/lib/containerd"} {
			if own[folder] == "" {
				t.Errorf("%s has no %s of its own", node.Name, folder)
			}
		}
	}
}

func TestNodeFilesAreReadable(t *testing.T) {
	dual := Layout{Cache: t.TempDir(), Name: "main"}
	if err := os.MkdirAll(dual.State(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dual.dualMark(), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, layout := range []Layout{layout, dual} {
		t.Run(fmt.Sprintf("dual-stack=%t", layout.IsDualStack()), func(t *testing.T) { readNodeFiles(t, layout) })
	}
}

func readNodeFiles(t *testing.T, layout Layout) {
	for _, node := range Nodes() {
		for path, text := range layout.nodeFiles(node) {
			parsed := map[string]any{}
			switch filepath.Ext(path) {
			case ".yaml":
				if err := yaml.UnmarshalStrict([]byte(text), &parsed); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			case ".conflist":
				if err := json.Unmarshal([]byte(text), &parsed); err != nil {
					t.Errorf("%s: %v", path, err)
				}
				if !strings.Contains(text, node.Pods) {
					t.Errorf("%s does not give out %s", path, node.Pods)
				}
				if strings.Contains(text, node.Pods6) != layout.IsDualStack() {
					t.Errorf("%s and %s: %s", path, node.Pods6, text)
				}
			}
		}
		if text := layout.nodeFiles(node)[layout.nodeFile(node, "kubelet.yaml")]; !strings.Contains(text, `cgroupRoot: "/fairway-main-`+node.Name+`"`) {
			t.Errorf("the kubelet of %s has no cgroup of its own:\n%s", node.Name, text)
		}
	}
	for _, document := range strings.Split(dnsManifest(), "\n---\n") {
		parsed := map[string]any{}
		if err := yaml.UnmarshalStrict([]byte(document), &parsed); err != nil || parsed["kind"] == nil {
			t.Errorf("%v in\n%s", err, document)
		}
	}
}

func readCertificate(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		t.Fatalf("%s is no PEM", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestCertificatesSayWhoIsWho(t *testing.T) {
	dir := t.TempDir()
	if err := makePKI(dir, Nodes()); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(readCertificate(t, filepath.Join(dir, "ca.crt")))

	server := readCertificate(t, filepath.Join(dir, "apiserver.crt"))
	for _, host := range []string{"kubernetes.default.svc", "127.0.0.1", controlIP, apiIP} {
		if _, err := server.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("the API server at %s: %v", host, err)
		}
	}
	kubelet := readCertificate(t, filepath.Join(dir, "kubelet-n1.crt"))
	if kubelet.Subject.CommonName != "system:node:n1" || len(kubelet.Subject.Organization) != 1 || kubelet.Subject.Organization[0] != "system:nodes" {
		t.Errorf("the kubelet of n1 is %s", kubelet.Subject)
	}
	client := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := kubelet.Verify(client); err != nil {
		t.Errorf("the kubelet of n1 as a client: %v", err)
	}
	if _, err := server.Verify(client); err == nil {
		t.Error("the API server's own certificate can be used to log in")
	}

	// A second `up`, and one that was cut off before its last certificate: what is there stays.
	before, err := os.ReadFile(filepath.Join(dir, "apiserver.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "scheduler.crt")); err != nil {
		t.Fatal(err)
	}
	if err := makePKI(dir, Nodes()); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(filepath.Join(dir, "apiserver.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("a second run made another certificate for the API server")
	}
	if _, err := readCertificate(t, filepath.Join(dir, "scheduler.crt")).Verify(client); err != nil {
		t.Errorf("the scheduler's certificate, made later: %v", err)
	}
}

func TestAKubeconfigHasAllItNeeds(t *testing.T) {
	dir := t.TempDir()
	if err := makePKI(dir, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "kubeconfig")
	if err := writeKubeconfig(path, "https://127.0.0.1:16443", "fairway", dir, "admin"); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://127.0.0.1:16443" || len(config.CAData) == 0 || len(config.CertData) == 0 || len(config.KeyData) == 0 || config.Insecure {
		t.Errorf("host %s, CA %d bytes, certificate %d bytes, key %d bytes", config.Host, len(config.CAData), len(config.CertData), len(config.KeyData))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read it: %v %v", info.Mode(), err)
	}
}
