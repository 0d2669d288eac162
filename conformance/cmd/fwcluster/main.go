// Fwcluster boots a real Kubernetes of two nodes on one Linux machine, installs Fairway on it, and runs the official
// Gateway API conformance suite. See conformance/README.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fairway-mesh/fairway/conformance/internal/cluster"
	"github.com/fairway-mesh/fairway/conformance/internal/machine"
	"github.com/fairway-mesh/fairway/conformance/internal/progress"
	"github.com/fairway-mesh/fairway/conformance/internal/toolchain"
)

// tool is what every command works with.
type tool struct {
	cluster.Layout
	report  *progress.Report
	builder toolchain.Builder
	// An existing cluster, if one of these is set.
	kubeconfig, kind string
}

type command struct {
	name, usage string
	run         func(t *tool, args []string) error
}

var commands = []command{
	{"build", "compile every Go program that the other commands need, into the cache", (*tool).buildAll},
	{"up", "boot the cluster, or what is missing of it", (*tool).up},
	{"down", "end it; nothing stays but the logs", (*tool).down},
	{"status", "what runs, and how to use it", (*tool).status},
	{"kubectl", "run kubectl on it: fwcluster kubectl get pods -A", (*tool).kubectl},
	{"exec", "run a command inside a machine: fwcluster exec n1 ip addr", (*tool).exec},
	{"load", "build our programs and put their images on the nodes; --only waypoint for one", (*tool).load},
	{"images", "write the images of our programs as archives", (*tool).images},
	{"install", "Gateway API CRDs and our charts, with Helm", (*tool).install},
	{"uninstall", "our charts, with Helm", (*tool).uninstall},
	{"test", "run the conformance suite; --run-test NAME for one test", (*tool).test},
	{"behaviour", "test behaviour under change; --list, --when change, --run REGEX", (*tool).behaviour},
	{"conformance", "everything: up, load, install, test, down", (*tool).conformance},
	{"reboot", "cut a machine off from power and start it again: fwcluster reboot n2", (*tool).reboot},
	{"restart", "restart a machine's program: fwcluster restart n2 kubelet", (*tool).restart},
}

func main() {
	// PID 1 of a machine, and its address source: started by `up`, not by people.
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case machine.Command:
			exit(runMachine(os.Args[2:]))
		case "load-balancer":
			exit(runLoadBalancer(os.Args[2:]))
		}
	}
	exit(run(os.Args[1:]))
}

func run(args []string) error {
	flags := flag.NewFlagSet("fwcluster", flag.ContinueOnError)
	name := flags.String("name", envOr("FWCLUSTER", "main"), "name of the cluster; several can run at once")
	source := flags.String("source", "", "the repository's conformance folder (default: found from here upwards)")
	kubeconfig := flags.String("kubeconfig", "", "use this existing cluster instead of ours")
	kind := flags.String("kind", "", "use the existing kind cluster of this name instead of ours")
	flags.Usage = func() { usage(flags) }
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		usage(flags)
		return errors.New("say what to do")
	}
	t, err := newTool(*name, *source)
	if err != nil {
		return err
	}
	t.kubeconfig, t.kind = *kubeconfig, *kind
	for _, c := range commands {
		if c.name == flags.Arg(0) {
			return c.run(t, flags.Args()[1:])
		}
	}
	usage(flags)
	return fmt.Errorf("no command %q", flags.Arg(0))
}

func usage(flags *flag.FlagSet) {
	fmt.Fprintln(flags.Output(), "usage: fwcluster [flags] command [its flags]")
	for _, c := range commands {
		fmt.Fprintf(flags.Output(), "  %-11s %s\n", c.name, c.usage)
	}
	flags.PrintDefaults()
}

func newTool(name, source string) (*tool, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	if source == "" {
		if source, err = findSource(); err != nil {
			return nil, err
		}
	}
	layout := cluster.Layout{Cache: filepath.Join(cache, "fairway"), Name: name}
	report := progress.New(os.Stdout)
	return &tool{
		Layout:  layout,
		report:  report,
		builder: toolchain.Builder{Source: source, Bin: filepath.Join(layout.Cache, "bin"), Report: report},
	}, nil
}

// findSource looks for the conformance folder from the working directory upwards.
func findSource() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		for _, candidate := range []string{dir, filepath.Join(dir, "conformance")} {
			if _, err := os.Stat(filepath.Join(candidate, "programs", "kube", "go.mod")); err == nil {
				return candidate, nil
			}
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no conformance folder above %s; go into the repository or give --source", start)
		}
	}
}

func envOr(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

func exit(err error) {
	if err == nil || errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	progress.Failed(os.Stderr, err)
	os.Exit(1)
}
