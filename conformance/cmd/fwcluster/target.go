package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/fairway-mesh/fairway/conformance/internal/cluster"
	"github.com/fairway-mesh/fairway/conformance/internal/image"
)

// target is the cluster that commands work on: ours, or one that exists.
type target interface {
	// Access is the kubeconfig for the host.
	Access() string
	// LoadImage puts an image on every node; it says whether that changed anything.
	LoadImage(image.Image) (bool, error)
	// Inside is a command that runs where Gateways' addresses can be reached, with the kubeconfig to use there.
	Inside(program string) (command func(args ...string) *exec.Cmd, kubeconfig string, err error)
}

// target is chosen by --kubeconfig and --kind.
func (t *tool) target() (target, error) {
	switch {
	case t.kind != "":
		kubeconfig := filepath.Join(t.Cache, "kind-"+t.kind+".kubeconfig")
		if err := os.MkdirAll(t.Cache, 0o755); err != nil {
			return nil, err
		}
		out, err := exec.Command("kind", "export", "kubeconfig", "--name", t.kind, "--kubeconfig", kubeconfig).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("kind cluster %s: %w: %s", t.kind, err, bytes.TrimSpace(out))
		}
		return existing{kubeconfig: kubeconfig, kind: t.kind}, nil
	case t.kubeconfig != "":
		return existing{kubeconfig: t.kubeconfig}, nil
	case len(t.Machines()) == 0:
		return nil, errors.New("the cluster does not run: `fwcluster up`, or --kind, or --kubeconfig")
	default:
		return ours{t.Layout}, nil
	}
}

type ours struct{ cluster.Layout }

func (o ours) Access() string { return o.Kubeconfig() }

func (o ours) LoadImage(img image.Image) (bool, error) { return o.Load(img) }

func (o ours) Inside(program string) (func(args ...string) *exec.Cmd, string, error) {
	name := cluster.Nodes()[0].Name
	m := o.Machines()[name]
	if m == nil {
		return nil, "", fmt.Errorf("node %s does not run", name)
	}
	run := func(args ...string) *exec.Cmd { return m.ExecBound(append([]string{program}, args...)...) }
	return run, o.InnerKubeconfig(), nil
}

// existing is somebody else's cluster.
type existing struct{ kubeconfig, kind string }

func (e existing) Access() string { return e.kubeconfig }

func (e existing) LoadImage(img image.Image) (bool, error) {
	if e.kind == "" {
		return false, errors.New("images of a cluster that is not ours come from a registry: push them there")
	}
	file, err := os.CreateTemp("", "fairway-image-*.tar")
	if err != nil {
		return false, err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if err := img.Archive(file); err != nil {
		return false, err
	}
	out, err := exec.Command("kind", "load", "image-archive", file.Name(), "--name", e.kind).CombinedOutput()
	if err != nil {
		return false, fmt.Errorf("kind load: %w: %s", err, bytes.TrimSpace(out))
	}
	return true, nil
}

func (e existing) Inside(program string) (func(args ...string) *exec.Cmd, string, error) {
	return func(args ...string) *exec.Cmd { return exec.Command(program, args...) }, e.kubeconfig, nil
}
