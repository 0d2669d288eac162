package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/internal/cluster"
	"github.com/fairway-mesh/fairway/conformance/internal/image"
	"github.com/fairway-mesh/fairway/conformance/internal/toolchain"
)

// The parts of this module that are built for the tests of behaviour. Go's own cache knows whether anything changed.
var ownModule = toolchain.Module{Name: "behaviour", Dir: "."}

// A test that takes longer has a line in the table of steps.
const longTest = 10 * time.Second

// So many tests that are in nobody's way run beside each other.
const beside = 4

// behaviourPlan is which tests of behaviour are to be run.
type behaviourPlan struct {
	// run and skip are regular expressions as of `go test`; without `run` it is `when` that chooses.
	when, run, skip, dir string
	built                string
	keep                 bool
}

func (t *tool) behaviour(args []string) error {
	flags := flag.NewFlagSet("behaviour", flag.ContinueOnError)
	plan := behaviourPlan{}
	flags.StringVar(&plan.when, "when", "all", "tests to run: change (what CI runs at every change), release (these and the others), dual-stack, all")
	flags.StringVar(&plan.run, "run", "", "tests to run, whatever --when says, a regular expression as of `go test`: --run 'TestBackendInTrouble/refuse'")
	flags.StringVar(&plan.skip, "skip", "", "tests to leave out, a regular expression")
	flags.StringVar(&plan.dir, "report-dir", "", "where results.json goes (default: in the cache folder)")
	flags.BoolVar(&plan.keep, "keep", false, "leave the tests' namespaces")
	profile := flags.String("profile", testProfile, "cargo profile that our programs were built with: `fairway` is one of those that are tested")
	list := flags.Bool("list", false, "list the tests, what each promises and when it runs; run none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *list {
		tests, err := t.behaviourTests()
		if err != nil {
			return err
		}
		return attach(exec.Command(tests, "-promises"))
	}
	plan.built = t.builtFolder(*profile)
	on, err := t.target()
	if err != nil {
		return err
	}
	return t.runBehaviour(on, plan)
}

// runBehaviour runs the tests of behaviour where the suite runs too. Fairway has to be installed.
func (t *tool) runBehaviour(on target, plan behaviourPlan) error {
	backend, err := t.backendImage(on)
	if err != nil {
		return err
	}
	if err := t.peerImages(on, plan); err != nil {
		return err
	}
	tests, err := t.behaviourTests()
	if err != nil {
		return err
	}
	bins, err := t.build(toolchain.Kubernetes, toolchain.Helm)
	if err != nil {
		return err
	}
	command, kubeconfig, err := on.Inside(tests)
	if err != nil {
		return err
	}
	if plan.dir == "" {
		plan.dir = filepath.Join(t.Cache, "reports", "behaviour-"+time.Now().Format("2006-01-02T15-04-05"))
	}
	arguments := []string{
		"-test.v=test2json", "-test.timeout=0", fmt.Sprintf("-test.parallel=%d", beside), "-when=" + plan.when, "-test.run=" + plan.run, "-test.skip=" + plan.skip,
		"-kubeconfig=" + kubeconfig,
		"-kubectl=" + filepath.Join(bins["kube"], "kubectl"),
		"-helm=" + filepath.Join(bins["helm"], "helm"),
		"-fairway=" + program(plan.built, "fairway"),
		"-charts=" + filepath.Join(t.repository(), "charts"),
		"-backend-image=" + backend,
		"-report-dir=" + plan.dir,
		fmt.Sprintf("-keep=%t", plan.keep),
	}
	cmd := command(arguments...)
	if own, is := on.(ours); is {
		// On the node's network, but among the host's processes: the tests look at those of pods, and kill some.
		name := cluster.Nodes()[0].Name
		reboot, err := t.rebootCommand()
		if err != nil {
			return err
		}
		cmd = own.Machines()[name].ExecNet(append([]string{tests, "-own", "-reboot=" + reboot}, arguments...)...)
	}
	if err := os.MkdirAll(plan.dir, 0o755); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(plan.dir, "tests.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	// Both streams in one: what the runtime says of a panic is an error of a test, too.
	transcript := record.NewTranscript(io.MultiWriter(os.Stdout, log))
	cmd.Stdout, cmd.Stderr = transcript, transcript
	failed := t.report.Step("behaviour under change", cmd.Run)
	if err := transcript.Close(); err != nil {
		return errors.Join(failed, err)
	}
	results, err := record.Read(filepath.Join(plan.dir, "results.json"))
	if err != nil {
		return fmt.Errorf("%w (the tests: %w)\n%s", err, failed, transcript.Errors())
	}
	for _, test := range record.Longest(results, longTest) {
		t.report.Record("  "+test.Name, test.Outcome, test.Took)
	}
	table := record.Table(results)
	fmt.Printf("\n%s\nresults: %s\n", table, plan.dir)
	if err := os.WriteFile(filepath.Join(plan.dir, "summary.txt"), []byte(table), 0o644); err != nil {
		return err
	}
	if failed != nil {
		// It is printed when everything else is done: who sees only the last lines sees why.
		return fmt.Errorf("tests of behaviour: %w\n%s", failed, transcript.Errors())
	}
	return nil
}

// rebootCommand is what a test runs to have a node rebooted: this program, on the network of this process, which is the host's.
func (t *tool) rebootCommand() (string, error) {
	self, err := os.Executable()
	return fmt.Sprintf("nsenter --target %d --net -- %s --name %s --source %s reboot", os.Getpid(), self, t.Name, t.builder.Source), err
}

// program is the file of a program, if it has been built.
func program(folder, name string) string {
	file := filepath.Join(folder, name)
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	return file
}

// behaviourTests is the program of the tests.
func (t *tool) behaviourTests() (string, error) {
	file := filepath.Join(t.Cache, "tools", "bin", "behaviour.test")
	return file, t.goBuild("test", "-c", "-trimpath", "-o", file, "./behaviour")
}

// behaviourBackend is the program of the tests' backends.
func (t *tool) behaviourBackend() (string, error) {
	file := filepath.Join(t.Cache, "tools", "bin", "behaviour-backend")
	return file, t.goBuild("build", "-trimpath", "-ldflags=-s -w", "-o", file, "./behaviour/backend")
}

// backendImage puts the image of the tests' backends on the nodes.
func (t *tool) backendImage(on target) (string, error) {
	file, err := t.behaviourBackend()
	if err != nil {
		return "", err
	}
	img := image.Backend(file)
	err = t.report.Step("image of the backends", func() error {
		_, err := on.LoadImage(img)
		return err
	})
	return img.Tags[0], err
}

// peer is a test that needs others' programs, and when it is run.
type peer struct {
	test   string
	when   []string
	module toolchain.Module
	images func(bin string) []image.Image
}

var peers = []peer{
	{"TestRealAuthorizer", []string{"change", "release", "all"}, toolchain.Authorizer, func(bin string) []image.Image {
		return []image.Image{image.Authorizer(bin)}
	}},
	{"TestRealOAuth2Proxy", []string{"release", "all"}, toolchain.OpenID, func(bin string) []image.Image {
		return []image.Image{image.OAuth2Proxy(bin), image.OpenID(bin)}
	}},
}

// chooses says whether a plan may run a peer's test.
func (p behaviourPlan) chooses(it peer) (bool, error) {
	if p.run == "" {
		return slices.Contains(it.when, p.when), nil
	}
	test, _, _ := strings.Cut(p.run, "/")
	return regexp.MatchString(test, it.test)
}

// peerImages puts the images of others' programs on the nodes that the tests need; they are compiled the first time.
func (t *tool) peerImages(on target, plan behaviourPlan) error {
	for _, it := range peers {
		if chosen, err := plan.chooses(it); err != nil || !chosen {
			if err != nil {
				return fmt.Errorf("--run: %w", err)
			}
			continue
		}
		bins, err := t.build(it.module)
		if err != nil {
			return err
		}
		for _, img := range it.images(bins[it.module.Name]) {
			err := t.report.Step("image "+img.Tags[0], func() error {
				_, err := on.LoadImage(img)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *tool) goBuild(args ...string) error {
	if out, err := t.builder.Go(ownModule, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("go %v: %w\n%s", args, err, out)
	}
	return nil
}
