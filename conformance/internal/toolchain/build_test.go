package toolchain

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fairway-mesh/fairway/conformance/internal/progress"
)

func TestPackagesAreCountedAndErrorsKept(t *testing.T) {
	var seen packages
	for _, part := range []string{"k8s.io/api/core/v1\nk8s.io/kuber", "netes/cmd/kubelet\n", "# example.com/x\n./x.go:3:1: undefined: y\n"} {
		if _, err := fmt.Fprint(&seen, part); err != nil {
			t.Fatal(err)
		}
	}
	if got := seen.state(); got != ", 2 packages compiled" {
		t.Errorf("state: %q", got)
	}
	if got := strings.TrimSpace(seen.rest()); got != "# example.com/x\n./x.go:3:1: undefined: y" {
		t.Errorf("rest: %q", got)
	}
}

// module makes one with a program in it.
func module(t *testing.T, main string) (Builder, Module, *bytes.Buffer) {
	t.Helper()
	source := t.TempDir()
	t.Setenv(progress.StepsFile, "") // the steps of this test are none of CI's
	for name, text := range map[string]string{"go.mod": "module example.com/hello\n\ngo 1.27.0\n", "main.go": main} {
		if err := os.WriteFile(filepath.Join(source, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said bytes.Buffer
	return Builder{Source: source, Bin: t.TempDir(), Report: progress.New(&said)}, Module{Name: "hello", Dir: ".", Packages: []string{"."}}, &said
}

func TestAModuleIsBuiltOnce(t *testing.T) {
	builder, hello, said := module(t, "package main\n\nfunc main() {}\n")
	first, err := builder.Build(hello)
	if err != nil {
		t.Fatal(err)
	}
	again, err := builder.Build(hello)
	if err != nil || first != again {
		t.Errorf("built in %s and in %s (%v)", first, again, err)
	}
	if _, err := os.Stat(filepath.Join(first, "hello")); err != nil {
		t.Error(err)
	}
	if count := strings.Count(said.String(), "build hello"); count != 1 {
		t.Errorf("said %d times that it is built:\n%s", count, said)
	}
	if err := os.WriteFile(filepath.Join(builder.Source, "main.go"), []byte("package main\n\nfunc main() { println() }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if other, err := builder.Build(hello); err != nil || other == first {
		t.Errorf("another source, and the same program is used: %s (%v)", other, err)
	}
}

func TestABuildThatFailsSaysWhy(t *testing.T) {
	builder, hello, said := module(t, "package main\n\nfunc main() { undefinedName() }\n")
	dir, err := builder.Build(hello)
	if err == nil || !strings.Contains(err.Error(), "undefinedName") {
		t.Errorf("the error: %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is there", dir)
	}
	if !strings.Contains(said.String(), "FAILED") {
		t.Errorf("said:\n%s", said)
	}
}

var required = regexp.MustCompile(`(?m)^\s*(?:require )?(\S+) (v\S+)`)

// versions that a go.mod requires.
func versions(t *testing.T, dir string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(raw), "\nreplace")
	found := map[string]string{}
	for _, match := range required.FindAllStringSubmatch(text, -1) {
		found[match[1]] = match[2]
	}
	return found
}

// Go compiles a package again for every set of versions below it. client-go alone takes minutes.
func TestModulesThatShareLibrariesRequireThemInOneVersion(t *testing.T) {
	for _, group := range [][]string{
		{"programs/kube", "."},
		{Suite.Dir, Helm.Dir, CoreDNS.Dir, EchoAdvanced.Dir},
		{Authorizer.Dir, OpenID.Dir},
	} {
		first := map[string]string{}
		for _, dir := range group {
			for name, version := range versions(t, dir) {
				owner, known := first[name]
				if !known {
					first[name] = dir
				} else if before := versions(t, owner)[name]; before != version {
					t.Errorf("%s requires %s %s, and %s requires %s: in the folder of the older, run `go get %[2]s@VERSION && go mod tidy`", dir, name, version, owner, before)
				}
			}
		}
	}
}
