package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairway-mesh/fairway/conformance/internal/machine"
	"github.com/fairway-mesh/fairway/conformance/internal/progress"
)

const (
	controlName = "control"
	// The API server on the host's loopback; the next free port is taken if this one is in use.
	firstPort = 16443
)

// Boot is what `up` needs.
type Boot struct {
	Layout
	// Bin holds the programs built from Go modules.
	Bin string
	// CNI is where the standard CNI plugins are installed.
	CNI string
	// DualStack asks for addresses of both families. A cluster that is up stays as it is.
	DualStack bool
	// Report of what happens.
	Report *progress.Report
}

// Up boots the cluster. Whatever runs already is left alone; whatever is missing is started.
func (b Boot) Up() (err error) {
	if len(b.Machines()) == 0 {
		if err := os.RemoveAll(b.Logs()); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(b.State(), 0o755); err != nil {
		return err
	}
	if err := b.chooseFamilies(); err != nil {
		return err
	}
	if err := saveKernelSettings(b.kernelSettings()); err != nil {
		return err
	}
	if err := makePKI(b.pki(), Nodes()); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := copyFile(self, b.program()); err != nil {
		return err
	}
	machines := map[string]*machine.Machine{}
	steps := []struct {
		name string
		do   func() error
	}{
		{"machines and their network", func() error { return b.startMachines(machines) }},
		{"control plane", func() error { return b.startControl(machines[controlName]) }},
		{"nodes", func() error { return b.startNodes(machines) }},
	}
	for _, step := range steps {
		if err := b.Report.Step(step.name, step.do); err != nil {
			return fmt.Errorf("%w\n  logs: %s", err, b.Logs())
		}
	}
	return nil
}

// chooseFamilies notes of a cluster that is made now whether it is a dual-stack one.
func (b Boot) chooseFamilies() error {
	if !b.DualStack || b.IsDualStack() {
		return nil
	}
	if len(b.Machines()) > 0 {
		return fmt.Errorf("cluster %q is up with IPv4 only: `fwcluster down` first", b.Name)
	}
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		return errors.New("a dual-stack cluster needs a kernel with IPv6")
	}
	return os.WriteFile(b.dualMark(), nil, 0o644)
}

// Finish waits for the nodes and starts DNS; its image has been loaded between Up and here.
func (b Boot) Finish() error {
	err := b.Report.Step("nodes ready", func() error {
		return b.until(2*time.Minute, func() error {
			out, err := b.kubectl("", "get", "nodes", "-o", `jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{" "}{end}`)
			if err == nil && strings.Count(out, "True") != len(Nodes()) {
				err = fmt.Errorf("ready: %s", out)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	return b.Report.Step("DNS", func() error {
		if _, err := b.kubectl(dnsManifest(), "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
			return err
		}
		_, err := b.kubectl("", "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s")
		return err
	})
}

func (l Layout) socket(machine string) string { return filepath.Join(l.State(), machine+".sock") }

func (l Layout) controlSpec() machine.Spec {
	return machine.Spec{
		Name: controlName, Dir: l.machineDir(controlName), Socket: l.socket(controlName), Forward: "127.0.0.1:6443",
	}
}

func (b Boot) startMachines(machines map[string]*machine.Machine) error {
	control, err := machine.Find(b.controlSpec())
	if err != nil {
		if control, err = b.startControlMachine(); err != nil {
			return err
		}
	}
	if err := b.linkControl(control); err != nil {
		return err
	}
	machines[controlName] = control
	for _, node := range Nodes() {
		if err := makeCgroup(b.cgroup(node)); err != nil {
			return err
		}
		if err := b.writeNodeFiles(node, b.CNI); err != nil {
			return err
		}
		m, err := machine.Start(b.nodeSpec(node), b.program(), b.log(node.Name, "machine"), nil)
		if err != nil {
			return err
		}
		if err := b.linkNode(control, m, node); err != nil {
			return err
		}
		machines[node.Name] = m
	}
	return b.routePods(machines)
}

// startControlMachine opens the API server's port on the host's loopback and hands it to the machine.
func (b Boot) startControlMachine() (*machine.Machine, error) {
	listener, err := listenLoopback()
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	file, err := listener.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	outer := "https://" + listener.Addr().String()
	if err := writeKubeconfig(b.Kubeconfig(), outer, "fairway", b.pki(), "admin"); err != nil {
		return nil, err
	}
	inner := "https://" + net.JoinHostPort(controlIP, "6443")
	if err := writeKubeconfig(b.InnerKubeconfig(), inner, "fairway", b.pki(), "admin"); err != nil {
		return nil, err
	}
	users := []string{"controller-manager", "scheduler", "proxy", "load-balancer"}
	for _, node := range Nodes() {
		users = append(users, "kubelet-"+node.Name)
	}
	for _, user := range users {
		if err := os.MkdirAll(filepath.Dir(b.kubeconfigOf(user)), 0o700); err != nil {
			return nil, err
		}
		if err := writeKubeconfig(b.kubeconfigOf(user), inner, "fairway", b.pki(), user); err != nil {
			return nil, err
		}
	}
	return machine.Start(b.controlSpec(), b.program(), b.log(controlName, "machine"), file)
}

func listenLoopback() (*net.TCPListener, error) {
	for port := firstPort; port < firstPort+50; port++ {
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err == nil {
			return listener, nil
		}
	}
	return nil, fmt.Errorf("no free port on 127.0.0.1 from %d on for the API server", firstPort)
}

func (b Boot) startControl(control *machine.Machine) error {
	p := programs{bin: b.Bin, self: b.program()}
	for _, unit := range []machine.Unit{b.etcd(), b.apiserver(p)} {
		if err := control.Run(unit); err != nil {
			return err
		}
	}
	err := b.until(2*time.Minute, func() error {
		_, err := b.kubectl("", "get", "--raw", "/readyz")
		return err
	})
	if err != nil {
		return err
	}
	for _, unit := range []machine.Unit{b.controllerManager(p), b.scheduler(p), b.loadBalancer(p)} {
		if err := control.Run(unit); err != nil {
			return err
		}
	}
	_, err = b.kubectl(proxyRights, "apply", "--server-side", "--force-conflicts", "-f", "-")
	return err
}

func (b Boot) startNodes(machines map[string]*machine.Machine) error {
	p := programs{bin: b.Bin, self: b.program()}
	for _, node := range Nodes() {
		if err := machines[node.Name].Run(b.containerd(node)); err != nil {
			return err
		}
	}
	for _, node := range Nodes() {
		m := machines[node.Name]
		err := b.until(time.Minute, func() error {
			_, err := machine.Output(m.Exec("ctr", "--timeout", "2s", "version"))
			return err
		})
		if err != nil {
			return err
		}
		for _, unit := range []machine.Unit{b.kubelet(p, node), b.kubeProxy(p, node)} {
			if err := m.Run(unit); err != nil {
				return err
			}
		}
	}
	return nil
}

// kubectl runs the cluster's own kubectl as its administrator.
func (b Boot) kubectl(stdin string, args ...string) (string, error) {
	cmd := Kubectl(b.Bin, b.Kubeconfig(), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// until tries again and again; the last error says what was missing.
func (b Boot) until(limit time.Duration, try func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not in %s: %w", limit, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// Machines of a cluster, those that run.
func (l Layout) Machines() map[string]*machine.Machine {
	found := map[string]*machine.Machine{}
	specs := []machine.Spec{l.controlSpec()}
	for _, node := range Nodes() {
		specs = append(specs, l.nodeSpec(node))
	}
	for _, spec := range specs {
		if m, err := machine.Find(spec); err == nil {
			found[spec.Name] = m
		}
	}
	return found
}
