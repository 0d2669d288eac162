package record

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// marked has the marks of Go in a text: <V>, <O>, <N> and <E>.
func marked(text string) string {
	return strings.NewReplacer("<V>", "\x16", "<O>", "\x0f", "<N>", "\x0e", "<E>", "\x1b").Replace(text)
}

const run = `<V>=== RUN   TestA
    a_test.go:1: fine
<V>--- PASS: TestA (0.01s)
<V>=== RUN   TestB
    b_test.go:2: noise
<V>=== RUN   TestB/a_part
    b_test.go:5: noise
<O>    b_test.go:7: a bar missed<N>
<O>    b_test.go:8: a second
        of two lines<N>
    b_test.go:9: noise
<V>--- FAIL: TestB/a_part (0.01s)
<V>=== NAME  TestB
<O>    b_test.go:9: the end<N>
<V>--- FAIL: TestB (0.02s)
<V>=== RUN   TestC
<V>--- PASS: TestC (0.01s)
FAIL
`

func transcribed(t *testing.T, text string, chunk int) (*Transcript, string) {
	t.Helper()
	var out bytes.Buffer
	transcript := NewTranscript(&out)
	for text = marked(text); text != ""; {
		part := text[:min(chunk, len(text))]
		text = text[len(part):]
		if _, err := transcript.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := transcript.Close(); err != nil {
		t.Fatal(err)
	}
	return transcript, out.String()
}

func TestErrorsOfFailedTestsAreFound(t *testing.T) {
	for _, c := range []struct{ name, log, want string }{
		{"of a test and of its parts, without noise", run, `=== TestB/a_part
    b_test.go:7: a bar missed
    b_test.go:8: a second
        of two lines
=== TestB
    b_test.go:9: the end
`},
		{"none", "<V>=== RUN   TestA\n<V>--- PASS: TestA (0.01s)\nPASS\n", ""},
		{"of tests beside each other", `<V>=== RUN   TestA
<V>=== PAUSE TestA
<V>=== RUN   TestB
<V>=== PAUSE TestB
<V>=== CONT  TestA
<O>    a_test.go:1: wrong<N>
<V>=== CONT  TestB
    b_test.go:1: fine
<V>=== NAME  TestA
<O>    a_test.go:2: wrong again<N>
<V>--- FAIL: TestA (0.01s)
<V>--- PASS: TestB (0.01s)
`, "=== TestA\n    a_test.go:1: wrong\n    a_test.go:2: wrong again\n"},
		{"a panic", `<V>=== RUN   TestA
    a_test.go:1: fine
<V>--- FAIL: TestA (0.01s)
panic: nil map

goroutine 7 [running]:
`, "=== TestA\npanic: nil map\n\ngoroutine 7 [running]:\n"},
		{"one that does not end", "<V>=== RUN   TestA\n    a_test.go:1: fine\n", "=== TestA\n    it did not end\n"},
		{"one whose line has no end", "<V>=== RUN   TestA\nwords<V>--- FAIL: TestA (0.01s)\n", "=== TestA\n    it failed, and said nothing of why\n"},
		{"with bytes that are marks", "<V>=== RUN   TestA\n<O>    a_test.go:1: <E><O>x<E><E>[0m<N>\n<V>--- FAIL: TestA (0.01s)\n",
			"=== TestA\n    a_test.go:1: <O>x<E>[0m\n"},
		{"before any test", "panic: in TestMain\n", "panic: in TestMain\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, chunk := range []int{1, 7, 1 << 20} {
				transcript, _ := transcribed(t, c.log, chunk)
				if got := transcript.Errors(); got != marked(c.want) {
					t.Errorf("in writes of %d bytes: got\n%s\nwant\n%s", chunk, got, c.want)
				}
			}
		})
	}
}

func TestTheLogHasNoMarks(t *testing.T) {
	for _, chunk := range []int{1, 7, 1 << 20} {
		_, log := transcribed(t, run+"an end without a line", chunk)
		want := strings.NewReplacer("<V>", "", "<O>", "", "<N>", "").Replace(run) + "an end without a line\n"
		if log != want {
			t.Errorf("in writes of %d bytes: got\n%q\nwant\n%q", chunk, log, want)
		}
	}
}

func TestATestThatSaysMuchLeavesRoomForOthers(t *testing.T) {
	var log strings.Builder
	for _, test := range []string{"TestA", "TestB"} {
		fmt.Fprintf(&log, "<V>=== RUN   %s\n<O>    a_test.go:1: much", test)
		for i := range 100 {
			fmt.Fprintf(&log, "\n        line %d", i)
		}
		log.WriteString("<N>\n")
		for i := range 100 {
			fmt.Fprintf(&log, "<O>    a_test.go:2: error %d<N>\n", i)
		}
		fmt.Fprintf(&log, "<V>--- FAIL: %s (0.01s)\n", test)
	}
	transcript, _ := transcribed(t, log.String(), 1<<20)
	errors := transcript.Errors()
	if count := strings.Count(errors, "\n"); count != 2*linesOfTest {
		t.Errorf("%d lines, want %d", count, 2*linesOfTest)
	}
	for _, want := range []string{"=== TestA", "=== TestB", "line 12", "… and 87 more lines", "error 0", "… and 77 more lines"} {
		if !strings.Contains(errors, want) {
			t.Errorf("no %q in\n%s", want, errors)
		}
	}
}
