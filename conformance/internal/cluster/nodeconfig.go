package cluster

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/fairway-mesh/fairway/conformance/internal/machine"
)

// PauseImage is the image of every pod's sandbox.
const PauseImage = "registry.k8s.io/pause:3.10"

// Where a node's own folders lie in its machine; on the host they are below the machine's folder.
var nodeFolders = []string{
	"/etc/cni/net.d", "/opt/cni/bin",
	"/var/lib/cni", "/var/lib/containerd", "/var/lib/kubelet",
	"/var/log/containers", "/var/log/pods",
}

func (l Layout) nodeSpec(node Node) machine.Spec {
	spec := machine.Spec{Name: node.Name, Dir: l.machineDir(node.Name), Socket: l.socket(node.Name)}
	for _, folder := range nodeFolders {
		spec.Binds = append(spec.Binds, machine.Bind{From: filepath.Join(spec.Dir, "disk", folder), To: folder})
	}
	return spec
}

// nodeFiles are the configuration files of a node, by their path on the host.
func (l Layout) nodeFiles(node Node) map[string]string {
	disk := filepath.Join(l.machineDir(node.Name), "disk")
	return map[string]string{
		l.nodeFile(node, "containerd.toml"):                      containerdConfig(),
		l.nodeFile(node, "kubelet.yaml"):                         kubeletConfig(l, node),
		l.nodeFile(node, "kube-proxy.yaml"):                      proxyConfig(l, node),
		l.nodeFile(node, "resolv.conf"):                          "nameserver 127.0.0.1\n",
		filepath.Join(disk, "etc/cni/net.d/10-fairway.conflist"): l.networkConfig(node),
	}
}

func containerdConfig() string {
	return fmt.Sprintf(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  enable_unprivileged_ports = true
  # Without CAP_SYS_RESOURCE no process may have a better OOM score than ours.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`, PauseImage)
}

// networkConfig gives each pod a point-to-point link to its node: all traffic is routed, so that a Service's address
// also works between two pods of one node (on a bridge that takes br_netfilter).
func (l Layout) networkConfig(node Node) string {
	ranges, routes := fmt.Sprintf(`[{"subnet": %q}]`, node.Pods), `{"dst": "0.0.0.0/0"}`
	if l.IsDualStack() {
		ranges += fmt.Sprintf(`, [{"subnet": %q}]`, node.Pods6)
		routes += `, {"dst": "::/0"}`
	}
	return fmt.Sprintf(`{
  "cniVersion": "1.0.0",
  "name": "fairway",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "/var/lib/cni/ipam",
        "ranges": [%s],
        "routes": [%s]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`, ranges, routes)
}

func kubeletConfig(l Layout, node Node) string {
	pki := func(name string) string { return filepath.Join(l.pki(), name) }
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %q}
authorization: {mode: Webhook}
tlsCertFile: %q
tlsPrivateKeyFile: %q
clusterDNS: [%q]
clusterDomain: %q
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
resolvConf: %q
volumePluginDir: /var/lib/kubelet/volume-plugins
cgroupDriver: cgroupfs
cgroupRoot: %q
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
# The host's disk may be as full as it likes.
evictionHard: {memory.available: "100Mi", nodefs.available: "0%%", imagefs.available: "0%%", nodefs.inodesFree: "0%%"}
imageGCHighThresholdPercent: 100
maxPods: 250
featureGates: {ClusterTrustBundle: true, ClusterTrustBundleProjection: true}
`, pki("ca.crt"), pki("kubelet-server-"+node.Name+".crt"), pki("kubelet-server-"+node.Name+".key"), dnsIP, domain,
		l.nodeFile(node, "resolv.conf"), "/"+l.cgroup(node))
}

func proxyConfig(l Layout, node Node) string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: %q
clusterCIDR: %q
clientConnection: {kubeconfig: %q}
# The kernel's connection table is the host's business.
conntrack: {maxPerCore: 0, min: 0}
nftables: {minSyncPeriod: 100ms}
`, node.Name, l.both(podCIDR, podCIDR6), l.kubeconfigOf("proxy"))
}

// writeNodeFiles writes a node's configuration and gives it its own copies of the standard CNI plugins.
func (l Layout) writeNodeFiles(node Node, pluginDir string) error {
	for path, text := range l.nodeFiles(node) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		// Kube-proxy ends when its file is written, even with the same text.
		if now, err := os.ReadFile(path); err == nil && string(now) == text {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	target := filepath.Join(l.machineDir(node.Name), "disk/opt/cni/bin")
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	for _, plugin := range []string{"bridge", "host-local", "loopback", "portmap", "ptp"} {
		if err := copyFile(filepath.Join(pluginDir, plugin), filepath.Join(target, plugin)); err != nil {
			return err
		}
	}
	return nil
}

// copyFile puts a copy in place by renaming, so that a running program's file may be replaced too.
func copyFile(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	part := to + ".part"
	if err := os.WriteFile(part, raw, 0o755); err != nil {
		return err
	}
	return os.Rename(part, to)
}
