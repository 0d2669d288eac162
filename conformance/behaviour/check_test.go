package behaviour

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
)

// From a mistake to `fairway check` saying so: conditions have to be written, and read.
const checkLimit = 15 * time.Second

// checked is what `fairway check --output json` says.
type checked struct {
	Installed  bool
	Categories []struct {
		Title       string
		Diagnostics []diagnostic
	}
	Counts struct{ Errors, Warnings int }
}

type diagnostic struct {
	Severity, Field, Reason, Message, Remedy string
	Object                                   struct{ Kind, Namespace, Name string }
}

var _ = promised(TestCheckLiveCluster, everyChange,
	"`fairway check` finds nothing wrong with an installed cluster, and names what is made wrong.")

// `fairway check` finds nothing wrong with an installed cluster, and names what is made wrong.
func TestCheckLiveCluster(t *testing.T) {
	s := begin(t, "check")
	if *fairway == "" {
		s.unable(true, "there is no program fairway: `make cluster ARGS=load` builds it, or give --profile")
	}
	s.part("in order after the install", func(s *stage) {
		start := time.Now()
		report, code := s.check()
		s.figure("time", time.Since(start).Seconds(), "s", nil)
		s.figure("errors", float64(report.Counts.Errors), "", record.AtMost(0))
		if code != 0 || !report.Installed {
			s.Errorf("ended with %d, installed: %v", code, report.Installed)
		}
		text, code := s.fairway("check", "--kubeconfig", *kubeconfig)
		s.Logf("%d\n%s", code, text)
		if strings.Contains(text, "\x1b") {
			s.Error("colours, and no terminal")
		}
	})
	s.part("mistakes are named, with remedies", func(s *stage) {
		s.meshed()
		node := s.nodes()[0]
		s.pod("server", node, "", "", "")
		s.pod("shy", node, ", fairway.dev/mesh: disabled", "", "")
		s.pod("misspelt", node, ", fairway.dev/mtls: strikt", "", "")
		s.ready("server", "shy", "misspelt")
		s.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: astray, namespace: NAMESPACE}
spec:
  parentRefs: [{group: "", kind: Service, name: server}]
  rules: [{backendRefs: [{name: nobody, port: 80}]}]
`)
		var text string
		took := s.until(checkLimit, "all of it to be named", func() (string, error) {
			report, code := s.check()
			for _, want := range []struct{ severity, object, message, remedy string }{
				{"error", "HTTPRoute " + s.namespace + "/astray", "nobody does not exist", "create it"},
				{"warning", "Pod " + s.namespace + "/shy", "opted out", "remove the label"},
				{"error", "Pod " + s.namespace + "/misspelt", "strikt", "strict"},
			} {
				if !report.has(want.severity, want.object, want.message, want.remedy) {
					return fmt.Sprintf("%v is not in %+v", want, report.Categories), nil
				}
			}
			text, _ = s.fairway("check", "--kubeconfig", *kubeconfig)
			return missing(code == 1, fmt.Sprintf("it ends with %d", code)), nil
		})
		s.figure("named after", took.Seconds(), "s", record.AtMost(checkLimit.Seconds()))
		s.Logf("\n%s", text)
	})
	s.part("in order again", func(s *stage) {
		s.must(cluster.Delete(s.ctx, "HTTPRoute", s.namespace, "astray"))
		s.label("Pod", s.namespace, "misspelt", "fairway.dev/mtls", "strict")
		s.until(checkLimit, "no error", func() (string, error) {
			report, code := s.check()
			return missing(code == 0 && report.Counts.Errors == 0, fmt.Sprintf("%d, %+v", code, report.Categories)), nil
		})
	})
	s.part("a cluster that is not there", func(s *stage) {
		text, code := s.fairway("check", "--kubeconfig", "/nowhere")
		if code != 1 || !strings.Contains(text, "/nowhere") || !strings.Contains(text, "--kubeconfig") {
			s.Errorf("ended with %d:\n%s", code, text)
		}
	})
}

// check asks for the machine's form.
func (s *stage) check() (report checked, code int) {
	s.Helper()
	text, code := s.fairway("check", "--kubeconfig", *kubeconfig, "--output", "json")
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		s.Fatalf("%v in\n%s", err, text)
	}
	return report, code
}

// fairway runs the program, and returns what it printed and the code it ended with.
func (s *stage) fairway(arguments ...string) (string, int) {
	s.Helper()
	cmd := exec.CommandContext(s.ctx, *fairway, arguments...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		s.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func (c checked) has(severity, object, message, remedy string) bool {
	for _, category := range c.Categories {
		for _, it := range category.Diagnostics {
			if it.Severity == severity && strings.Contains(it.Message, message) && strings.Contains(it.Remedy, remedy) &&
				it.Object.Kind+" "+it.Object.Namespace+"/"+it.Object.Name == object {
				return true
			}
		}
	}
	return false
}
