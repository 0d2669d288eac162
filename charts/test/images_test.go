package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var programs = []string{"controller", "waypoint", "ztunnel"}

// What a Dockerfile starts is what the file list brings, as the user it needs.
func TestImagesHoldTheirProgram(t *testing.T) {
	for _, name := range programs {
		text, err := os.ReadFile("../../images/" + name + "/Dockerfile")
		if err != nil {
			t.Fatal(err)
		}
		program := "/usr/local/bin/fairway-" + name
		user := "USER 65532:65532"
		if name == "ztunnel" {
			user = "USER 0:0"
		}
		for _, line := range []string{
			fmt.Sprintf("ENTRYPOINT [%q]", program), user, "STOPSIGNAL SIGTERM",
			// Releases name them by digest.
			"ARG BUILD_IMAGE=", "ARG BASE_IMAGE=", "FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build", "FROM ${BASE_IMAGE}",
			fmt.Sprintf("images/build %s \"$TARGETARCH\" /out", name), "COPY --from=build /out/ /",
		} {
			if !strings.Contains(string(text), line) {
				t.Errorf("%s: no %s", name, line)
			}
		}
		for _, label := range []string{"title", "description", "licenses", "source", "version", "revision"} {
			if !strings.Contains(string(text), "org.opencontainers.image."+label+"=") {
				t.Errorf("%s: no label %s", name, label)
			}
		}
	}
}

// The file lists are staged as they say, and list nothing that is not in the repository or built.
func TestFileListsAreStaged(t *testing.T) {
	for _, name := range programs {
		bin, out := t.TempDir(), t.TempDir()
		for _, program := range []string{"fairway-" + name, "fairway-cni"} {
			if err := os.WriteFile(filepath.Join(bin, program), []byte(name), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		stage := exec.Command("images/stage", name, bin, out)
		stage.Dir = "../.."
		if said, err := stage.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		for path, mode := range map[string]os.FileMode{"usr/local/bin/fairway-" + name: 0o755, "usr/share/doc/fairway/LICENSE": 0o644} {
			found, err := os.Stat(filepath.Join(out, path))
			if err != nil {
				t.Error(err)
			} else if found.Mode() != mode {
				t.Errorf("%s has mode %o", path, found.Mode())
			}
		}
		stage = exec.Command("images/stage", name, t.TempDir(), t.TempDir())
		stage.Dir = "../.."
		if stage.Run() == nil {
			t.Errorf("%s: a program that was not built is not missed", name)
		}
	}
}
