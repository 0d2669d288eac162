package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/fairway-mesh/fairway/conformance/internal/cluster"
	"github.com/fairway-mesh/fairway/conformance/internal/image"
	"github.com/fairway-mesh/fairway/conformance/internal/toolchain"
)

// load builds our programs and puts their images on the nodes; pods that run another build start anew.
func (t *tool) load(args []string) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	only := flags.String("only", "", "programs, with commas: controller, waypoint, ztunnel (default: all that have an image)")
	built := flags.String("built", "", "folder of programs built already (default: cargo builds them)")
	profile := flags.String("profile", testProfile, "cargo profile")
	restart := flags.Bool("restart", true, "start pods anew that run an image that changed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	on, err := t.target()
	if err != nil {
		return err
	}
	names, err := t.programs(*only)
	if err != nil {
		return err
	}
	return t.loadPrograms(on, names, *built, *profile, *restart)
}

// images writes the images of our programs as archives, for `docker load`, `podman load` or `kind load image-archive`.
func (t *tool) images(args []string) error {
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	only := flags.String("only", "", "programs, with commas: controller, waypoint, ztunnel (default: all that have an image)")
	built := flags.String("built", "", "folder of programs built already (default: cargo builds them)")
	profile := flags.String("profile", "release", "cargo profile")
	out := flags.String("out", filepath.Join(t.cargoTarget(), "images"), "folder for the archives")
	if err := flags.Parse(args); err != nil {
		return err
	}
	names, err := t.programs(*only)
	if err != nil {
		return err
	}
	version, err := t.version()
	if err != nil {
		return err
	}
	bin, err := t.builtPrograms(names, *built, *profile)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	for _, name := range names {
		path := filepath.Join(*out, "fairway-"+name+".tar")
		err := t.report.Step(path, func() error {
			img, err := image.Fairway(name, version, t.repository(), bin)
			if err != nil {
				return err
			}
			file, err := os.Create(path)
			if err != nil {
				return err
			}
			return errors.Join(img.Archive(file), file.Close())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// builtPrograms is the folder that has our programs, built by cargo unless a folder was given.
func (t *tool) builtPrograms(names []string, built, profile string) (string, error) {
	if built != "" {
		return built, nil
	}
	err := t.report.Step("cargo build "+strings.Join(names, ", "), func() error { return t.cargo(names, profile) })
	return t.builtFolder(profile), err
}

// builtFolder is where cargo puts the programs of a profile.
func (t *tool) builtFolder(profile string) string {
	if profile == testProfile {
		profile = "debug" // by tradition
	}
	return filepath.Join(t.cargoTarget(), profile)
}

func (t *tool) loadPrograms(on target, names []string, built, profile string, restart bool) error {
	// The tests of behaviour call `fairway` too, which has no image.
	bin, err := t.builtPrograms(append(slices.Clone(names), "cli"), built, profile)
	if err != nil {
		return err
	}
	version, err := t.version()
	if err != nil {
		return err
	}
	var changed []image.Image
	for _, name := range names {
		err := t.report.Step("image fairway-"+name, func() error {
			img, err := image.Fairway(name, version, t.repository(), bin)
			if err != nil {
				return err
			}
			took, err := on.LoadImage(img)
			if took {
				changed = append(changed, img)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if !restart || len(changed) == 0 {
		return nil
	}
	return t.report.Step("pods with a changed image", func() error { return t.restartPods(on, changed) })
}

// programs checks names, and says which have an image if none is given.
func (t *tool) programs(only string) ([]string, error) {
	var names []string
	if only == "" {
		for name := range image.Programs {
			if _, err := os.Stat(filepath.Join(t.repository(), "images", name, "files")); err == nil {
				names = append(names, name)
			}
		}
	} else {
		names = strings.Split(only, ",")
	}
	for _, name := range names {
		if _, known := image.Programs[name]; !known {
			return nil, fmt.Errorf("no program %q: controller, waypoint, ztunnel", name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no list of files in %s", filepath.Join(t.repository(), "images", "*", "files"))
	}
	sort.Strings(names)
	return names, nil
}

// testProfile is the one of `make test`: what the cluster runs and what `make demo` shows is what was built for the tests.
const testProfile = "dev"

func (t *tool) cargo(names []string, profile string) error {
	args := []string{"build", "--locked", "--profile", profile}
	if profile == testProfile {
		// The same features as in the tests, and so the same files: see the Makefile.
		args = append(args, "--workspace", "--examples", "--bin", "fairway-cni")
		for _, name := range names {
			args = append(args, "--bin", strings.TrimSuffix("fairway-"+name, "-cli"))
		}
	} else {
		for _, name := range names {
			args = append(args, "--package", "fairway-"+name)
		}
	}
	cmd := exec.Command(filepath.Join(t.repository(), ".ci", "cargo"), args...)
	cmd.Dir = t.repository()
	cmd.Env = append(os.Environ(), "CARGO_TARGET_DIR="+t.cargoTarget())
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

func (t *tool) cargoTarget() string {
	return envOr("CARGO_TARGET_DIR", filepath.Join(t.repository(), "target"))
}

func (t *tool) repository() string { return filepath.Dir(t.builder.Source) }

var workspaceVersion = regexp.MustCompile(`(?ms)^\[workspace\.package\].*?^version = "([^"]+)"`)

// version of the workspace: the images' tag, and what the report says.
func (t *tool) version() (string, error) {
	raw, err := os.ReadFile(filepath.Join(t.repository(), "Cargo.toml"))
	if err != nil {
		return "", err
	}
	match := workspaceVersion.FindSubmatch(raw)
	if match == nil {
		return "", errors.New("Cargo.toml: no version in [workspace.package]")
	}
	return string(match[1]), nil
}

// restartPods deletes the pods that run one of the images; whoever owns them makes new ones.
func (t *tool) restartPods(on target, images []image.Image) error {
	out, err := t.kubectlOutput(on, "get", "pods", "-A", "-o",
		`jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name} {.spec.containers[*].image}{"\n"}{end}`)
	if err != nil {
		return err
	}
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 3 || !uses(fields[2:], images) {
			continue
		}
		if _, err := t.kubectlOutput(on, "-n", fields[0], "delete", "pod", fields[1], "--wait=false"); err != nil {
			return err
		}
	}
	return nil
}

func uses(running []string, images []image.Image) bool {
	for _, img := range images {
		for _, tag := range img.Tags {
			for _, name := range running {
				if name == tag {
					return true
				}
			}
		}
	}
	return false
}

// suiteImages puts the suite's own images on the nodes of our cluster. Elsewhere they come from their registry.
func (t *tool) suiteImages(on target) error {
	if _, own := on.(ours); !own {
		return nil
	}
	bins, err := t.build(toolchain.EchoBasic, toolchain.EchoAdvanced)
	if err != nil {
		return err
	}
	return t.report.Step("images of the suite", func() error {
		certificate, key, err := t.EchoKeyPair()
		if err != nil {
			return err
		}
		for _, img := range []image.Image{
			image.EchoBasic(bins["echo-basic"]), image.EchoAdvanced(bins["echo-advanced"], certificate, key),
		} {
			if _, err := on.LoadImage(img); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tool) kubectlOutput(on target, args ...string) (string, error) {
	bins, err := t.build(toolchain.Kubernetes)
	if err != nil {
		return "", err
	}
	cmd := cluster.Kubectl(bins["kube"], on.Access(), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}
