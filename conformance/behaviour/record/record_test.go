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
