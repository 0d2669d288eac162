package record

import "strings"

// Failed gives what the tests printed that failed or did not end, of the log of a run with -test.v: a run of many prints much
// after them.
func Failed(log string) string {
	const began, passed, skipped = "=== RUN   ", "--- PASS: ", "--- SKIP: "
	var all, test strings.Builder
	bad := false
	end := func() {
		if bad {
			all.WriteString(test.String())
		}
		test.Reset()
		bad = false
	}
	for line := range strings.Lines(log) {
		// The parts of a test have its name and a slash.
		if name, is := strings.CutPrefix(line, began); is && !strings.Contains(name, "/") {
			end()
			bad = true
		}
		if strings.HasPrefix(line, passed) || strings.HasPrefix(line, skipped) {
			bad = false
		}
		test.WriteString(line)
	}
	end()
	return all.String()
}
