package behaviour

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

// The namespace that the guide makes.
const guided = "shop"

var _ = promised(TestGettingStarted, everyChange,
	"Every command of docs/getting-started.md for a cluster does what the text says.")

// Every command of docs/getting-started.md for a cluster, as it stands there, and what a reader expects of it.
func TestGettingStarted(t *testing.T) {
	s := begin(t, "guide")
	s.must(cluster.Delete(s.ctx, "Namespace", "", guided))
	s.until(ample, "the namespace of an earlier run to go", func() (string, error) {
		left, err := cluster.Get(s.ctx, "Namespace", "", guided)
		return missing(left == nil, "it is there"), err
	})
	if !*keep {
		s.Cleanup(func() {
			if err := cluster.Delete(context.Background(), "Namespace", "", guided); err != nil {
				t.Error(err)
			}
		})
	}
	expected := []struct {
		command string
		holds   func(*stage, string)
	}{
		{"get pods -L fairway.dev/captured", func(s *stage, output string) {
			s.figure("pods in the mesh", float64(strings.Count(output, "true")), "", record.AtLeast(3))
		}},
		{"get httproutes,gateways", func(s *stage, output string) {
			if !strings.Contains(output, "gateway.gateway.networking.k8s.io/waypoint") {
				s.Errorf("no waypoint is shown:\n%s", output)
			}
		}},
		{"client http://web/ --count 10", func(s *stage, output string) {
			s.figure("answers of v1", float64(strings.Count(output, "Hostname=web-v1-")), "", record.AtLeast(10))
		}},
		{"client http://web/ -H x-canary:always", func(s *stage, output string) {
			s.figure("answers of v2 with the header", float64(strings.Count(output, "Hostname=web-v2-")), "", record.AtLeast(1))
		}},
		{"get gateway shop", func(s *stage, _ string) {
			gateway, err := cluster.Get(s.ctx, "Gateway", guided, "shop")
			s.must(err)
			s.reach(net.JoinHostPort(scene.Addresses(gateway)[0], "80"), load.Request{Host: "x", Path: "/"}, 404, 200, appearLimit)
		}},
	}
	for _, command := range s.guide() {
		s.part(command, func(s *stage) {
			output, err := s.shell(command)
			s.must(err)
			if len(expected) > 0 && strings.Contains(command, expected[0].command) {
				expected[0].holds(s, output)
				expected = expected[1:]
			}
		})
		if s.Failed() {
			return
		}
	}
	for _, it := range expected {
		s.Errorf("the guide has no such command (any more), or not in this order: %s", it.command)
	}
}

// guide has the commands in order, without what is said about them.
func (s *stage) guide() (commands []string) {
	s.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(*charts), "docs", "getting-started.md"))
	s.must(err)
	_, part, found := strings.Cut(string(text), "\n## In a cluster\n")
	if !found {
		s.Fatal("docs/getting-started.md has no part `In a cluster`")
	}
	part, _, _ = strings.Cut(part, "\n## ")
	for _, line := range strings.Split(part, "\n") {
		if command, is := strings.CutPrefix(line, "    "); is {
			command, _, _ = strings.Cut(command, "  #")
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	return commands
}

// shell runs a command as a reader does, in the checkout.
func (s *stage) shell(command string) (string, error) {
	cmd := exec.CommandContext(s.ctx, "sh", "-c", command)
	cmd.Dir = filepath.Dir(*charts)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+*kubeconfig, "PATH="+filepath.Dir(*kubectl)+":"+os.Getenv("PATH"))
	output, err := cmd.CombinedOutput()
	s.Logf("%s", output)
	return string(output), err
}
