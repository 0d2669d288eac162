// Package cluster boots a real Kubernetes of two nodes on one Linux machine, and takes it down again.
package cluster

import (
	"fmt"
	"os"
	"path/filepath"
)

// Addresses of the cluster. All of them live in network namespaces of the machines; the host has no route to any.
const (
	controlIP   = "172.18.0.10"
	machineCIDR = 24
	podCIDR     = "10.244.0.0/16"
	serviceCIDR = "10.96.0.0/16"
	apiIP       = "10.96.0.1"
	dnsIP       = "10.96.0.10"
	domain      = "cluster.local"

	// The second family's, in a dual-stack cluster.
	controlIP6   = "fd00:18::10"
	machineCIDR6 = 64
	podCIDR6     = "fd00:244::/48"
	serviceCIDR6 = "fd00:96::/112"

	// PoolCIDR is where the addresses of LoadBalancer Services come from.
	PoolCIDR = "172.18.255.0/24"
	// UsableAddress is an address of the pool that is given only to who asks for it.
	UsableAddress = "172.18.255.250"
	// UnusableAddress is an address the cluster can never give.
	UnusableAddress = "192.0.2.1"
)

// Node is a machine that runs pods.
type Node struct {
	Name string
	IP   string
	Pods string // its share of podCIDR
	Zone string

	// The second family's, in a dual-stack cluster.
	IP6, Pods6 string
}

// Nodes of the cluster.
func Nodes() []Node {
	nodes := make([]Node, 0, 2)
	for i := 1; i <= 2; i++ {
		nodes = append(nodes, Node{
			Name: fmt.Sprintf("n%d", i),
			IP:   fmt.Sprintf("172.18.0.%d", 10+i),
			Pods: fmt.Sprintf("10.244.%d.0/24", i),
			Zone: fmt.Sprintf("z%d", i),

			IP6:   fmt.Sprintf("fd00:18::1%d", i),
			Pods6: fmt.Sprintf("fd00:244:0:%d::/64", i),
		})
	}
	return nodes
}

// Layout says where things lie on the host. Nothing lies in the checkout.
type Layout struct {
	// Cache is the project's cache folder: built programs stay there.
	Cache string
	// Name of the cluster; several can run at once.
	Name string
}

// State is the cluster's folder; it is gone after `down`.
func (l Layout) State() string { return filepath.Join(l.clusters(), l.Name) }

func (l Layout) clusters() string { return filepath.Join(l.Cache, "clusters") }

// kernelSettings as they were before the first of all clusters came up.
func (l Layout) kernelSettings() string { return filepath.Join(l.clusters(), "kernel-settings.json") }

// Logs of the latest run; they stay until the next `up`.
func (l Layout) Logs() string { return filepath.Join(l.Cache, "logs", l.Name) }

// Kubeconfig for use on the host.
func (l Layout) Kubeconfig() string { return filepath.Join(l.State(), "kubeconfig") }

// InnerKubeconfig is for programs on the cluster's own network.
func (l Layout) InnerKubeconfig() string { return filepath.Join(l.State(), "kubeconfig-inner") }

// dualMark is a file that a dual-stack cluster has.
func (l Layout) dualMark() string { return filepath.Join(l.State(), "dual-stack") }

// IsDualStack says whether pods and Services have addresses of IPv6, too.
func (l Layout) IsDualStack() bool {
	_, err := os.Stat(l.dualMark())
	return err == nil
}

// both joins what there is of each family, as Kubernetes' flags want it.
func (l Layout) both(ipv4, ipv6 string) string {
	if l.IsDualStack() {
		return ipv4 + "," + ipv6
	}
	return ipv4
}

func (l Layout) machineDir(name string) string { return filepath.Join(l.State(), name) }
func (l Layout) pki() string                   { return filepath.Join(l.State(), "pki") }
func (l Layout) program() string               { return filepath.Join(l.State(), "fwcluster") }
func (l Layout) log(machine, unit string) string {
	return filepath.Join(l.Logs(), machine, unit+".log")
}
func (l Layout) cgroup(node Node) string { return "fairway-" + l.Name + "-" + node.Name }

// MachineNames in the order people think of them.
func MachineNames() []string {
	names := []string{controlName}
	for _, node := range Nodes() {
		names = append(names, node.Name)
	}
	return names
}
