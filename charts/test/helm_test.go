// Package test checks the charts with the Helm that users have: what they render, what they refuse, and that a cluster would take it.
package test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files and docs/values.md instead of comparing them")

const (
	fairway = "../fairway"
	crds    = "../fairway-crds"
)

// program is the path of Helm, built from this module's own go.mod.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	path, err := exec.Command("go", "tool", "-n", "helm").Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "building Helm:", describe(err))
		os.Exit(1)
	}
	program = strings.TrimSpace(string(path))
	os.Exit(m.Run())
}

// helm runs Helm without a cluster, and without anything that the machine's user has set up for it.
func helm(arguments ...string) (output string, err error) {
	command := exec.Command(program, arguments...)
	home := os.TempDir() + "/fairway-charts-test"
	command.Env = append(os.Environ(), "KUBECONFIG=/dev/null", "HELM_CONFIG_HOME="+home, "HELM_CACHE_HOME="+home, "HELM_DATA_HOME="+home)
	out, err := command.Output()
	if err != nil {
		return string(out), fmt.Errorf("helm %s: %s", strings.Join(arguments, " "), describe(err))
	}
	return string(out), nil
}

// render is `helm template`, as a user would call it.
func render(t *testing.T, chart string, arguments ...string) string {
	t.Helper()
	name := strings.TrimPrefix(chart, "../")
	out, err := helm(append([]string{"template", name, chart, "--namespace", "fairway-system"}, arguments...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func describe(err error) string {
	if exit, ok := err.(*exec.ExitError); ok {
		return string(bytes.TrimSpace(exit.Stderr))
	}
	return err.Error()
}

func TestLint(t *testing.T) {
	for _, chart := range []string{fairway, crds} {
		if _, err := helm("lint", "--strict", chart); err != nil {
			t.Error(err)
		}
	}
}
