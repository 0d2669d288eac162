package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/fairway-mesh/fairway/conformance/internal/machine"
	"github.com/fairway-mesh/fairway/conformance/internal/toolchain"
)

const systemNamespace = "fairway-system"

// install applies the Gateway API's CRDs and installs our charts; what follows the flags goes to Helm.
func (t *tool) install(args []string) error {
	flags := flag.NewFlagSet("install", flag.ContinueOnError)
	channel := flags.String("channel", "experimental", "Gateway API channel: experimental or standard")
	crds := flags.Bool("crds-only", false, "only the Gateway API's CRDs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	on, err := t.target()
	if err != nil {
		return err
	}
	return t.installCharts(on, *channel, *crds, flags.Args())
}

func (t *tool) installCharts(on target, channel string, crdsOnly bool, helmArgs []string) error {
	folder, err := t.crdFolder(channel)
	if err != nil {
		return err
	}
	err = t.report.Step("Gateway API CRDs, "+channel+" channel", func() error {
		if _, err := t.kubectlOutput(on, "apply", "--server-side", "--force-conflicts", "-k", folder); err != nil {
			return err
		}
		_, err := t.kubectlOutput(on, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
		return err
	})
	if err != nil || crdsOnly {
		return err
	}
	for _, chart := range []string{"fairway-crds", "fairway"} {
		err := t.report.Step("chart "+chart, func() error {
			args := []string{"upgrade", "--install", chart, filepath.Join(t.repository(), "charts", chart),
				"--namespace", systemNamespace, "--create-namespace", "--wait", "--timeout", "3m"}
			if chart == "fairway" {
				args = append(args, helmArgs...)
			}
			return t.helm(on, args...)
		})
		if err != nil {
			// Helm says that a Deployment is not ready; the pods say why.
			pods, _ := t.kubectlOutput(on, "-n", systemNamespace, "get", "pods")
			logs, _ := t.kubectlOutput(on, "-n", systemNamespace, "logs", "-l", "app.kubernetes.io/name=fairway", "--prefix", "--tail=5")
			return fmt.Errorf("%w\n%s%s", err, pods, logs)
		}
	}
	return nil
}

func (t *tool) uninstall([]string) error {
	on, err := t.target()
	if err != nil {
		return err
	}
	for _, chart := range []string{"fairway", "fairway-crds"} {
		err := t.report.Step("chart "+chart, func() error {
			return t.helm(on, "uninstall", chart, "--namespace", systemNamespace, "--ignore-not-found", "--wait", "--timeout", "3m")
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tool) helm(on target, args ...string) error {
	bins, err := t.build(toolchain.Helm)
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(bins["helm"], "helm"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+on.Access())
	_, err = machine.Output(cmd)
	return err
}

// crdFolder is where the Go module of the Gateway API has the CRDs of a channel.
func (t *tool) crdFolder(channel string) (string, error) {
	cmd := t.builder.Go(toolchain.Suite, "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("the Gateway API's module: %w", err)
	}
	dir := strings.TrimSpace(string(out))
	if dir == "" { // listed, but not fetched yet
		if out, err := t.builder.Go(toolchain.Suite, "mod", "download", "sigs.k8s.io/gateway-api").CombinedOutput(); err != nil {
			return "", fmt.Errorf("the Gateway API's module: %w: %s", err, out)
		}
		return t.crdFolder(channel)
	}
	folder := filepath.Join(dir, "config", "crd", channel)
	if _, err := os.Stat(folder); err != nil {
		return "", fmt.Errorf("channel %q: %w", channel, err)
	}
	return folder, nil
}
