package cluster

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/fairway-mesh/fairway/conformance/internal/machine"
)

const bridge = "br0"

// linkControl makes the switch of the cluster, inside the control machine: nothing is added to the host's network.
func (l Layout) linkControl(control *machine.Machine) error {
	err := ip(control,
		"link set lo up",
		"link add "+bridge+" type bridge",
		fmt.Sprintf("addr replace %s/%d dev %s", controlIP, machineCIDR, bridge),
		"link set "+bridge+" up",
	)
	if err != nil || !l.IsDualStack() {
		return err
	}
	return ip(control, fmt.Sprintf("addr replace %s/%d dev %s nodad", controlIP6, machineCIDR6, bridge))
}

// linkNode plugs a node into the switch.
func (l Layout) linkNode(control, m *machine.Machine, node Node) error {
	port := "to-" + node.Name
	err := ip(control,
		fmt.Sprintf("link add %s type veth peer name eth0 netns %d", port, m.PID),
		"link set "+port+" master "+bridge+" up",
		fmt.Sprintf("route replace %s via %s", node.Pods, node.IP),
		// Any node delivers to a LoadBalancer address; this one does for those who are not a node.
		fmt.Sprintf("route replace %s via %s", PoolCIDR, Nodes()[0].IP),
	)
	if err != nil {
		return err
	}
	err = ip(m,
		"link set lo up",
		fmt.Sprintf("addr replace %s/%d dev eth0", node.IP, machineCIDR),
		"link set eth0 up",
		"route replace default via "+controlIP,
	)
	if err != nil {
		return err
	}
	if _, err = machine.Output(m.ExecNet("sysctl", "-qw", "net.ipv4.ip_forward=1")); err != nil || !l.IsDualStack() {
		return err
	}
	if err := ip(control, fmt.Sprintf("route replace %s via %s", node.Pods6, node.IP6)); err != nil {
		return err
	}
	// Nobody else can have these addresses: to look for them would only take a second.
	err = ip(m,
		fmt.Sprintf("addr replace %s/%d dev eth0 nodad", node.IP6, machineCIDR6),
		"route replace default via "+controlIP6,
	)
	if err != nil {
		return err
	}
	_, err = machine.Output(m.ExecNet("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1"))
	return err
}

// routePods tells each node where the other nodes' pods are.
func (l Layout) routePods(machines map[string]*machine.Machine) error {
	for _, node := range Nodes() {
		for _, other := range Nodes() {
			if other.Name == node.Name {
				continue
			}
			routes := []string{fmt.Sprintf("route replace %s via %s", other.Pods, other.IP)}
			if l.IsDualStack() {
				routes = append(routes, fmt.Sprintf("route replace %s via %s", other.Pods6, other.IP6))
			}
			if err := ip(machines[node.Name], routes...); err != nil {
				return err
			}
		}
	}
	return nil
}

// ip runs commands of ip(8) on a machine's network. What is there already is fine.
func ip(m *machine.Machine, commands ...string) error {
	for _, command := range commands {
		args := append([]string{"ip"}, strings.Fields(command)...)
		if _, err := machine.Output(m.ExecNet(args...)); err != nil && !strings.Contains(err.Error(), "File exists") {
			return fmt.Errorf("network of %s (%s): %w", m.Spec.Name, strconv.Quote(command), err)
		}
	}
	return nil
}
