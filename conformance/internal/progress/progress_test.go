package progress

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestALongStepSaysHowFarItIs(t *testing.T) {
	var out bytes.Buffer
	report := New(&out)
	report.every = time.Millisecond
	said := make(chan struct{})
	asked := 0
	state := func() string {
		if asked++; asked == 2 {
			close(said)
		}
		return ", 7 packages"
	}
	if err := report.Follow("build kube", state, func() error { <-said; return nil }); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) < 3 || !strings.Contains(lines[0], "… (0 s, 7 packages)") || !strings.Contains(lines[len(lines)-1], "build kube") || !strings.Contains(lines[len(lines)-1], "ok (") {
		t.Errorf("got\n%s", out.String())
	}
}

func TestEveryStepIsRecordedWithItsOutcome(t *testing.T) {
	path := filepath.Join(t.TempDir(), "steps")
	t.Setenv(StepsFile, path)
	report := New(&bytes.Buffer{})
	broken := errors.New("broken")
	if err := report.Step("suite", func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := report.Step("chart fairway", func() error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("the step's error is lost: %v", err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^0\.0\tok\tsuite\n0\.0\tFAILED\tchart fairway\n$`).Match(raw) {
		t.Errorf("got %q", raw)
	}
}

func TestWhyACommandFailedIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "errors")
	t.Setenv(ErrorsFile, path)
	var out bytes.Buffer
	Failed(&out, errors.New("first"))
	Failed(&out, errors.New("second"))
	raw, err := os.ReadFile(path)
	if want := "fwcluster: first\nfwcluster: second\n"; err != nil || string(raw) != want || out.String() != want {
		t.Errorf("kept %q, printed %q, want %q: %v", raw, out.String(), want, err)
	}
}
