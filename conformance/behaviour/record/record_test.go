package record

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestABarDividesFigures(t *testing.T) {
	for _, c := range []struct {
		bar    *Bar
		value  float64
		passes bool
	}{
		{nil, 1e9, true},
		{AtMost(25), 25, true},
		{AtMost(25), 26, false},
		{AtLeast(0.75), 0.75, true},
		{AtLeast(0.75), 0.7, false},
	} {
		if c.bar.Passes(c.value) != c.passes {
			t.Errorf("%v against [%s]: want %t", c.value, c.bar, c.passes)
		}
	}
}

func TestTheFileHasWhatWasAdded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "results.json")
	book := NewBook(path)
	for _, figure := range []Figure{{"errors", 26, "", AtMost(25)}, {"share back", 0.5, "s", nil}} {
		if err := book.Add("TestBackendResets", figure); err != nil {
			t.Fatal(err)
		}
	}
	if err := book.End("TestBackendResets", Fail, 31.5); err != nil {
		t.Fatal(err)
	}
	tests, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	table := Table(tests)
	for _, want := range []string{"fail", "31.5 s", "26", "≤ 25", "← fails", "0.5 s"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
}

func TestLongTestsAreListedByTheirTime(t *testing.T) {
	tests := map[string]Test{"TestA": {Pass, 11, nil}, "TestB": {Fail, 30, nil}, "TestB/part": {Fail, 29, nil}, "TestC": {Pass, 9, nil}}
	got := Longest(tests, 10*time.Second)
	want := []Duration{{"TestB", Fail, 30 * time.Second}, {"TestA", Pass, 11 * time.Second}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWhatFailedTestsSaidIsFound(t *testing.T) {
	log := `=== RUN   TestA
    a_test.go:1: fine
--- PASS: TestA (0.01s)
=== RUN   TestB
=== RUN   TestB/a_part
    b_test.go:7: a bar missed
=== NAME  TestB
    b_test.go:9: the end
--- FAIL: TestB (0.02s)
    --- FAIL: TestB/a_part (0.01s)
=== RUN   TestC
--- PASS: TestC (0.01s)
FAIL
`
	want := log[strings.Index(log, "=== RUN   TestB\n"):strings.Index(log, "=== RUN   TestC")]
	if got := Failed(log); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := Failed(strings.ReplaceAll(log, "--- FAIL", "--- PASS")); got != "" {
		t.Errorf("nothing failed, and this is said of it:\n%s", got)
	}
	stuck := "=== RUN   TestD\npanic: test timed out\n"
	if got := Failed(log + stuck); !strings.HasSuffix(got, stuck) {
		t.Errorf("of a test that did not end is said\n%s", got)
	}
}
