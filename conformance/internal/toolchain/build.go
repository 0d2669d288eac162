// Package toolchain gets the programs that a cluster needs: from Go modules, and from the distribution's packages.
package toolchain

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/fairway-mesh/fairway/conformance/internal/progress"
)

// GoVersion builds everything; `go` fetches it through the module proxy if the installed one is older.
const GoVersion = "go1.27.3"

const kubernetesVersion = "v1.36.3"

// Module is a Go module of the repository from which programs are built, with the versions its go.mod pins.
type Module struct {
	// Name of the folder the programs are put in.
	Name string
	// Dir of the module, from conformance/.
	Dir string
	// Packages to build; a program is named after its package.
	Packages []string
	// Test, if set, builds the module's own tests as a program of this name.
	Test    string
	LDFlags string
}

// The modules.
var (
	Kubernetes = Module{
		Name: "kube", Dir: "programs/kube",
		Packages: []string{
			"k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kube-controller-manager",
			"k8s.io/kubernetes/cmd/kube-proxy", "k8s.io/kubernetes/cmd/kube-scheduler",
			"k8s.io/kubernetes/cmd/kubectl", "k8s.io/kubernetes/cmd/kubelet",
		},
		LDFlags: "-X k8s.io/component-base/version.gitVersion=" + kubernetesVersion +
			" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36",
	}
	CoreDNS = Module{Name: "coredns", Dir: "programs/coredns", Packages: []string{"."}}
	// Helm is the one that the tests of the charts use: most of it has been compiled when they have run.
	Helm         = Module{Name: "helm", Dir: "../charts/test", Packages: []string{"helm.sh/helm/v4/cmd/helm"}}
	EchoAdvanced = Module{Name: "echo-advanced", Dir: "programs/echo-advanced", Packages: []string{
		"istio.io/istio/pkg/test/echo/cmd/client", "istio.io/istio/pkg/test/echo/cmd/server",
	}}
	EchoBasic = Module{Name: "echo-basic", Dir: "suite", Packages: []string{"sigs.k8s.io/gateway-api-conformance-images/echo-basic"}}
	Suite     = Module{Name: "suite", Dir: "suite", Test: "conformance.test"}
	// Authorizer and OpenID are what the tests of behaviour have Fairway ask.
	Authorizer = Module{Name: "authorizer", Dir: "programs/authorizer", Packages: []string{"."}}
	OpenID     = Module{Name: "openid", Dir: "programs/openid", Packages: []string{".", "github.com/oauth2-proxy/oauth2-proxy/v7"}}
	Pause      = Module{Name: "pause", Dir: "programs/pause", Packages: []string{"."}}
)

// All modules that a run at a change of the code needs, the one that takes longest first. OpenID is built when a test needs it, before a release.
var All = []Module{Kubernetes, Suite, CoreDNS, Helm, EchoAdvanced, Authorizer, EchoBasic, Pause}

// Builder builds modules into the cache, each version once.
type Builder struct {
	// Source is the repository's conformance folder.
	Source string
	// Bin is the cache folder that holds one folder per module and version.
	Bin    string
	Report *progress.Report
}

// Build returns the folder with the module's programs, built unless they are there.
func (b Builder) Build(m Module) (string, error) {
	digest, err := b.digest(m)
	if err != nil {
		return "", err
	}
	target := filepath.Join(b.Bin, m.Name+"-"+digest)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if _, err := exec.LookPath("go"); err != nil {
		return "", fmt.Errorf("%s is compiled with Go, and there is none on the PATH: get 1.21 or later from https://go.dev/dl", m.Name)
	}
	if err := os.MkdirAll(b.Bin, 0o755); err != nil {
		return "", err
	}
	// Another run may be building it: `.ci/run` builds everything beside the tests of Rust.
	lock, err := os.OpenFile(target+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	compiled := &packages{}
	err = b.Report.Follow("build "+m.Name, compiled.state, func() error {
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
			return fmt.Errorf("%s: %w", lock.Name(), err)
		}
		if _, err := os.Stat(target); err == nil {
			return nil
		}
		part := fmt.Sprintf("%s.part-%d", target, os.Getpid())
		if err := os.MkdirAll(part, 0o755); err != nil {
			return err
		}
		defer os.RemoveAll(part)
		cmd := b.Go(m, slices.Insert(b.arguments(m, part), 1, "-v")...)
		cmd.Stdout, cmd.Stderr = compiled, compiled
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("go build in %s: %w\n%s", cmd.Dir, err, compiled.rest())
		}
		return os.Rename(part, target)
	})
	return target, err
}

// Go is a command of the pinned toolchain in the module's folder.
func (b Builder) Go(m Module, args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Dir = filepath.Join(b.Source, m.Dir)
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN="+GoVersion, "GOFLAGS=-mod=readonly", "GOWORK=off", "CGO_ENABLED=0")
	return cmd
}

func (b Builder) arguments(m Module, out string) []string {
	flags := []string{"-trimpath", "-ldflags", strings.TrimSpace("-s -w " + m.LDFlags)}
	if m.Test != "" {
		return append(append([]string{"test", "-c"}, flags...), "-o", filepath.Join(out, m.Test), ".")
	}
	args := append(append([]string{"build"}, flags...), "-o", out+"/")
	return append(args, m.Packages...)
}

// digest stands for everything a build depends on.
func (b Builder) digest(m Module) (string, error) {
	dir := filepath.Join(b.Source, m.Dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var files []string
	for _, entry := range entries {
		name := entry.Name()
		test := strings.HasSuffix(name, "_test.go") && m.Test == ""
		if name == "go.mod" || name == "go.sum" || strings.HasSuffix(name, ".go") && !test {
			files = append(files, name)
		}
	}
	sort.Strings(files)
	sum := sha256.New()
	fmt.Fprintln(sum, GoVersion, b.arguments(m, ""))
	for _, name := range files {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %x\n", name, sha256.Sum256(raw))
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}
