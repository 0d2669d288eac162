package cluster

import (
	"path/filepath"

	"github.com/fairway-mesh/fairway/conformance/internal/machine"
)

// programs finds the cluster's executables.
type programs struct {
	bin  string // folder with those built from Go modules
	self string // this program
}

func (p programs) path(name string) string { return filepath.Join(p.bin, name) }

func (l Layout) etcd() machine.Unit {
	const client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	return machine.Unit{Name: "etcd", Log: l.log(controlName, "etcd"), Args: []string{
		"etcd",
		"--data-dir=" + filepath.Join(l.machineDir(controlName), "etcd"),
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
		"--logger=zap",
		"--log-level=warn",
		"--unsafe-no-fsync", // a test cluster does not outlive a power cut
	}}
}

func (l Layout) apiserver(p programs) machine.Unit {
	pki := func(name string) string { return filepath.Join(l.pki(), name) }
	return machine.Unit{Name: "kube-apiserver", Log: l.log(controlName, "kube-apiserver"), Args: []string{
		p.path("kube-apiserver"),
		"--etcd-servers=http://127.0.0.1:2379",
		"--advertise-address=" + controlIP, "--bind-address=0.0.0.0", "--secure-port=6443",
		"--tls-cert-file=" + pki("apiserver.crt"), "--tls-private-key-file=" + pki("apiserver.key"),
		"--client-ca-file=" + pki("ca.crt"),
		"--kubelet-certificate-authority=" + pki("ca.crt"),
		"--kubelet-client-certificate=" + pki("apiserver-kubelet-client.crt"),
		"--kubelet-client-key=" + pki("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-cluster-ip-range=" + l.both(serviceCIDR, serviceCIDR6),
		"--service-account-issuer=https://kubernetes.default.svc." + domain,
		"--service-account-key-file=" + pki("service-accounts.key"),
		"--service-account-signing-key-file=" + pki("service-accounts.key"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		// Gateway API's GEP-5075 refers to ClusterTrustBundles.
		"--feature-gates=ClusterTrustBundle=true,ClusterTrustBundleProjection=true",
		"--runtime-config=certificates.k8s.io/v1beta1=true",
	}}
}

func (l Layout) controllerManager(p programs) machine.Unit {
	pki := func(name string) string { return filepath.Join(l.pki(), name) }
	return machine.Unit{Name: "kube-controller-manager", Log: l.log(controlName, "kube-controller-manager"), Args: []string{
		p.path("kube-controller-manager"),
		"--kubeconfig=" + l.kubeconfigOf("controller-manager"),
		"--service-account-private-key-file=" + pki("service-accounts.key"),
		"--use-service-account-credentials=true",
		"--root-ca-file=" + pki("ca.crt"),
		"--cluster-signing-cert-file=" + pki("ca.crt"), "--cluster-signing-key-file=" + pki("ca.key"),
		"--leader-elect=false",
		"--allocate-node-cidrs=false",
		"--flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins", // the default would be made in the host's /usr
		// The suite makes and deletes many namespaces at once.
		"--concurrent-namespace-syncs=20", "--kube-api-qps=200", "--kube-api-burst=400",
	}}
}

func (l Layout) scheduler(p programs) machine.Unit {
	return machine.Unit{Name: "kube-scheduler", Log: l.log(controlName, "kube-scheduler"), Args: []string{
		p.path("kube-scheduler"),
		"--kubeconfig=" + l.kubeconfigOf("scheduler"),
		"--leader-elect=false",
	}}
}

func (l Layout) loadBalancer(p programs) machine.Unit {
	return machine.Unit{Name: "load-balancer", Log: l.log(controlName, "load-balancer"), Args: []string{
		p.self, "load-balancer",
		"--kubeconfig=" + l.kubeconfigOf("load-balancer"),
		"--pool=" + PoolCIDR,
		"--reserved=" + UsableAddress,
	}}
}

func (l Layout) containerd(node Node) machine.Unit {
	return machine.Unit{Name: "containerd", Log: l.log(node.Name, "containerd"), Args: []string{
		"containerd", "--config", l.nodeFile(node, "containerd.toml"),
	}}
}

func (l Layout) kubelet(p programs, node Node) machine.Unit {
	return machine.Unit{Name: "kubelet", Log: l.log(node.Name, "kubelet"), Args: []string{
		p.path("kubelet"),
		"--config=" + l.nodeFile(node, "kubelet.yaml"),
		"--kubeconfig=" + l.kubeconfigOf("kubelet-"+node.Name),
		"--hostname-override=" + node.Name,
		"--node-ip=" + l.both(node.IP, node.IP6),
		"--node-labels=topology.kubernetes.io/zone=" + node.Zone,
		"--root-dir=/var/lib/kubelet",
		"--v=2",
	}}
}

func (l Layout) kubeProxy(p programs, node Node) machine.Unit {
	return machine.Unit{Name: "kube-proxy", Log: l.log(node.Name, "kube-proxy"), Args: []string{
		p.path("kube-proxy"), "--config=" + l.nodeFile(node, "kube-proxy.yaml"),
	}}
}

func (l Layout) kubeconfigOf(user string) string {
	return filepath.Join(l.State(), "kubeconfigs", user)
}

func (l Layout) nodeFile(node Node, name string) string {
	return filepath.Join(l.machineDir(node.Name), name)
}
