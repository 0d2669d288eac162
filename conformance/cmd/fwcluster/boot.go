package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/fairway-mesh/fairway/conformance/internal/cluster"
	"github.com/fairway-mesh/fairway/conformance/internal/image"
	"github.com/fairway-mesh/fairway/conformance/internal/loadbalancer"
	"github.com/fairway-mesh/fairway/conformance/internal/machine"
	"github.com/fairway-mesh/fairway/conformance/internal/toolchain"
)

func (t *tool) up(args []string) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	install := flags.Bool("install-packages", os.Getenv("CI") != "", "install missing system packages with apt (the default if CI is set)")
	dual := flags.Bool("dual-stack", false, "addresses of IPv6 beside those of IPv4, for pods, Services and nodes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return t.boot(*install, *dual)
}

func (t *tool) boot(install, dual bool) error {
	if os.Geteuid() != 0 {
		return errors.New("the cluster is made of namespaces, mounts and cgroups: run this as root")
	}
	if missing := toolchain.Missing(); len(missing) > 0 {
		if !install {
			return fmt.Errorf("missing: %s\n  install with: apt-get install -y --no-install-recommends %[1]s\n  or let me: fwcluster up --install-packages",
				strings.Join(missing, " "))
		}
		if err := t.report.Step("system packages", func() error { return toolchain.Install(missing) }); err != nil {
			return err
		}
	}
	cni, err := toolchain.CNI()
	if err != nil {
		return err
	}
	bins, err := t.build(toolchain.Kubernetes, toolchain.CoreDNS, toolchain.Pause)
	if err != nil {
		return err
	}
	boot := cluster.Boot{Layout: t.Layout, Bin: bins["kube"], CNI: cni, DualStack: dual, Report: t.report}
	if err := boot.Up(); err != nil {
		return err
	}
	err = t.report.Step("images of the cluster", func() error {
		for _, img := range []image.Image{
			image.Pause(cluster.PauseImage, bins["pause"]), image.CoreDNS(cluster.CoreDNSImage, bins["coredns"]),
		} {
			if _, err := t.Load(img); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := boot.Finish(); err != nil {
		return err
	}
	if err := t.suiteImages(ours{t.Layout}); err != nil {
		return err
	}
	t.report.Say("up: export KUBECONFIG=%s", t.Kubeconfig())
	return nil
}

// build builds modules and says where their programs are.
func (t *tool) build(modules ...toolchain.Module) (map[string]string, error) {
	bins := map[string]string{}
	for _, module := range modules {
		dir, err := t.builder.Build(module)
		if err != nil {
			return nil, err
		}
		bins[module.Name] = dir
	}
	return bins, nil
}

// buildAll compiles whatever the other commands would compile when they need it. `.ci/run` does so beside other work.
func (t *tool) buildAll([]string) error {
	if _, err := t.build(toolchain.All...); err != nil {
		return err
	}
	return t.report.Step("build the tests of behaviour", func() error {
		if _, err := t.behaviourTests(); err != nil {
			return err
		}
		_, err := t.behaviourBackend()
		return err
	})
}

func (t *tool) down([]string) error { return t.Down(t.report) }

func (t *tool) status([]string) error {
	machines := t.Machines()
	if len(machines) == 0 {
		fmt.Printf("cluster %q does not run; `fwcluster up` boots it\n", t.Name)
		return nil
	}
	for _, name := range cluster.MachineNames() {
		m := machines[name]
		if m == nil {
			fmt.Printf("%-8s does not run; `fwcluster up` starts it\n", name)
			continue
		}
		units, err := m.Units()
		if err != nil {
			return err
		}
		for _, unit := range units {
			state := "runs"
			if !unit.Running {
				state = "down: " + unit.LastExit
			} else if unit.Restarts > 0 {
				state = fmt.Sprintf("runs, restarted %d times (last: %s)", unit.Restarts, unit.LastExit)
			}
			fmt.Printf("%-8s %-24s %s\n", name, unit.Name, state)
		}
	}
	fmt.Printf("\nkubeconfig  %s\nlogs        %s\npool        %s (usable %s, unusable %s)\n",
		t.Kubeconfig(), t.Logs(), cluster.PoolCIDR, cluster.UsableAddress, cluster.UnusableAddress)
	return nil
}

func (t *tool) kubectl(args []string) error {
	bins, err := t.build(toolchain.Kubernetes)
	if err != nil {
		return err
	}
	return attach(cluster.Kubectl(bins["kube"], t.Kubeconfig(), args...))
}

func (t *tool) exec(args []string) error {
	if len(args) < 2 {
		return errors.New("say where and what: fwcluster exec n1 ip addr")
	}
	m, err := t.machine(args[0])
	if err != nil {
		return err
	}
	return attach(m.Exec(args[1:]...))
}

func (t *tool) restart(args []string) error {
	if len(args) != 2 {
		return errors.New("say where and what: fwcluster restart n2 kubelet")
	}
	m, err := t.machine(args[0])
	if err != nil {
		return err
	}
	return m.Restart(args[1])
}

// reboot ends everything that runs in a machine at once, with its mounts, interfaces and /run; its disks stay.
func (t *tool) reboot(args []string) error {
	if len(args) != 1 {
		return errors.New("say where: fwcluster reboot n2")
	}
	m, err := t.machine(args[0])
	if err != nil {
		return err
	}
	if _, err := machine.KillBelow(m.Spec.Dir); err != nil {
		return err
	}
	return t.boot(false, false)
}

func (t *tool) machine(name string) (*machine.Machine, error) {
	if m := t.Machines()[name]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("no machine %q runs (there are: %s)", name, strings.Join(cluster.MachineNames(), ", "))
}

// attach runs a command on this terminal; its exit status becomes ours.
func attach(cmd *exec.Cmd) error {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var status *exec.ExitError
	if errors.As(err, &status) {
		os.Exit(status.ExitCode())
	}
	return err
}

func runMachine(args []string) error {
	if len(args) != 1 {
		return errors.New("machine: the spec's path is missing")
	}
	return machine.Init(args[0])
}

func runLoadBalancer(args []string) error {
	flags := flag.NewFlagSet("load-balancer", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "who to be")
	prefix := flags.String("pool", "", "addresses to give")
	reserved := flags.String("reserved", "", "address of the pool that is given only on request")
	if err := flags.Parse(args); err != nil {
		return err
	}
	parsed, err := netip.ParsePrefix(*prefix)
	if err != nil {
		return err
	}
	pool := loadbalancer.Pool{Prefix: parsed}
	if *reserved != "" {
		address, err := netip.ParseAddr(*reserved)
		if err != nil {
			return err
		}
		pool.Reserved = append(pool.Reserved, address)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return loadbalancer.Run(ctx, *kubeconfig, pool)
}
