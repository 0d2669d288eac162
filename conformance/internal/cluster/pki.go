package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority is the cluster's certificate authority.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  crypto.Signer
}

// identity is what a certificate says of its holder.
type identity struct {
	file          string // its certificate and key are <file>.crt and <file>.key
	user          string
	groups        []string
	hosts         []string // DNS names and IP addresses, for servers
	authenticates bool     // presents the certificate as a client
}

// identities of everything that speaks to, or is, the API server.
func identities(nodes []Node) []identity {
	all := []identity{
		{file: "apiserver", user: "kube-apiserver", hosts: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc." + domain, "localhost", "127.0.0.1", controlIP, apiIP}},
		{file: "apiserver-kubelet-client", user: "kube-apiserver", groups: []string{"system:masters"}, authenticates: true},
		{file: "admin", user: "admin", groups: []string{"system:masters"}, authenticates: true},
		{file: "controller-manager", user: "system:kube-controller-manager", authenticates: true},
		{file: "scheduler", user: "system:kube-scheduler", authenticates: true},
		{file: "proxy", user: "system:kube-proxy", authenticates: true},
		{file: "echo", user: "echo", hosts: []string{"echo." + domain}},
		{file: "load-balancer", user: "load-balancer", groups: []string{"system:masters"}, authenticates: true},
	}
	for _, node := range nodes {
		all = append(all,
			identity{file: "kubelet-" + node.Name, user: "system:node:" + node.Name, groups: []string{"system:nodes"}, authenticates: true},
			identity{file: "kubelet-server-" + node.Name, user: "kubelet-" + node.Name, hosts: []string{node.Name, node.IP}})
	}
	return all
}

// makePKI writes the authority, every certificate, and the service-account key; what is there already stays.
func makePKI(dir string, nodes []Node) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, err := loadAuthority(dir)
	if errors.Is(err, fs.ErrNotExist) {
		ca, err = newAuthority(dir)
	}
	if err != nil {
		return err
	}
	for _, id := range identities(nodes) {
		if exists(filepath.Join(dir, id.file+".crt")) {
			continue
		}
		if err := ca.issue(id); err != nil {
			return fmt.Errorf("certificate %s: %w", id.file, err)
		}
	}
	accounts := filepath.Join(dir, "service-accounts.key")
	if exists(accounts) {
		return nil
	}
	// RSA, because that is what service-account tokens are signed with on nearly every cluster.
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	return writeKey(accounts, key)
}

func loadAuthority(dir string) (*authority, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: not a signing key", filepath.Join(dir, "ca.key"))
	}
	return &authority{dir: dir, cert: pair.Leaf, key: key}, nil
}

func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "fairway test cluster"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(1, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	ca := &authority{dir: dir, cert: cert, key: key}
	return ca, ca.write("ca", der, key)
}

func (ca *authority) issue(id identity) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: id.user, Organization: id.groups},
		NotBefore:    ca.cert.NotBefore,
		NotAfter:     ca.cert.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	if id.authenticates {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	for _, host := range id.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	if len(id.hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return err
	}
	return ca.write(id.file, der, key)
}

func (ca *authority) write(name string, der []byte, key crypto.Signer) error {
	// The certificate comes last: where there is one, there is a key.
	if err := writeKey(filepath.Join(ca.dir, name+".key"), key); err != nil {
		return err
	}
	return writeWhole(filepath.Join(ca.dir, name+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func writeKey(path string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writeWhole(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// writeWhole writes a file that is never there by half, for the owner's eyes only.
func writeWhole(path string, content []byte) error {
	part := path + ".part"
	if err := os.WriteFile(part, content, 0o600); err != nil {
		return err
	}
	return os.Rename(part, path)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// EchoKeyPair is what the suite's mesh workload serves TLS with.
func (l Layout) EchoKeyPair() (certificate, key string, err error) {
	cert, err := os.ReadFile(filepath.Join(l.pki(), "echo.crt"))
	if err != nil {
		return "", "", err
	}
	private, err := os.ReadFile(filepath.Join(l.pki(), "echo.key"))
	return string(cert), string(private), err
}

// writeKubeconfig writes a kubeconfig with everything inside it, so that the file can be copied away.
func writeKubeconfig(path, server, cluster, pki, user string) error {
	field := func(name string) (string, error) {
		raw, err := os.ReadFile(filepath.Join(pki, name))
		return base64.StdEncoding.EncodeToString(raw), err
	}
	ca, err := field("ca.crt")
	if err != nil {
		return err
	}
	cert, err := field(user + ".crt")
	if err != nil {
		return err
	}
	key, err := field(user + ".key")
	if err != nil {
		return err
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: %[1]s
  cluster:
    server: %[2]s
    certificate-authority-data: %[3]s
users:
- name: %[4]s
  user:
    client-certificate-data: %[5]s
    client-key-data: %[6]s
contexts:
- name: %[1]s
  context:
    cluster: %[1]s
    user: %[4]s
current-context: %[1]s
`, cluster, server, ca, user, cert, key)
	return os.WriteFile(path, []byte(text), 0o600)
}
