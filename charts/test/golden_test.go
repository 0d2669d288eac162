package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each golden/<case>.values.yaml renders what stands beside it.
func TestGolden(t *testing.T) {
	for _, values := range cases(t) {
		golden := strings.TrimSuffix(values, ".values.yaml") + ".yaml"
		t.Run(filepath.Base(golden), func(t *testing.T) {
			compare(t, golden, render(t, fairway, "--values", values))
		})
	}
}

// cases are the values files of the golden files.
func cases(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("golden/*.values.yaml")
	if err != nil || len(found) == 0 {
		t.Fatal("no golden files", err)
	}
	return found
}

// compare says where a file and a text part, or writes the file when asked to.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: make charts ARGS=-update writes it", err)
	}
	if got == string(want) {
		return
	}
	old, new := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	line := 0
	for line < len(old) && line < len(new) && old[line] == new[line] {
		line++
	}
	t.Errorf("%s:%d is not what is rendered now\n  file: %s\n  now:  %s\nlook at `make charts ARGS=-update; git diff` and commit what is meant",
		file, line+1, at(old, line), at(new, line))
}

func at(lines []string, index int) string {
	if index < len(lines) {
		return lines[index]
	}
	return "(its end)"
}
