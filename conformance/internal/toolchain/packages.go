package toolchain

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
)

// Programs of the distribution that the cluster runs or calls, and the Debian packages that bring them.
var systemPrograms = map[string]string{
	"containerd": "containerd",
	"ctr":        "containerd",
	"runc":       "runc",
	"etcd":       "etcd-server",
	"nft":        "nftables",
	"iptables":   "iptables",
	"conntrack":  "conntrack",
	"ip":         "iproute2",
	"nsenter":    "util-linux",
	"sysctl":     "procps",
	"mount":      "mount",
}

// Folders where distributions put the standard CNI plugins, and the Debian package that has them.
var cniFolders = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

const cniPackage = "containernetworking-plugins"

// CNI is the folder of the standard CNI plugins.
func CNI() (string, error) {
	for _, dir := range cniFolders {
		if _, err := os.Stat(filepath.Join(dir, "ptp")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no CNI plugins in %s", strings.Join(cniFolders, ", "))
}

// Missing packages.
func Missing() []string {
	need := map[string]bool{}
	for program, pkg := range systemPrograms {
		if _, err := lookPath(program); err != nil {
			need[pkg] = true
		}
	}
	if _, err := CNI(); err != nil {
		need[cniPackage] = true
	}
	packages := make([]string, 0, len(need))
	for pkg := range need {
		packages = append(packages, pkg)
	}
	sort.Strings(packages)
	return packages
}

// lookPath also finds what only root has on its path.
func lookPath(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", exec.ErrNotFound
}

// Install installs packages with apt. Their services must not start: the host is not a node.
func Install(packages []string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("no apt-get here; install them with your distribution's tool")
	}
	policy := "/usr/sbin/policy-rc.d"
	if _, err := os.Stat(policy); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil {
			return err
		}
		defer os.Remove(policy)
	}
	for _, args := range [][]string{
		{"update", "-qq"},
		append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...),
	} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
		}
	}
	return nil
}
