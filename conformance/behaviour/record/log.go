package record

import (
	"strings"
)

// Failed gives what the tests that failed printed, of the log of a run with -test.v: a run of many prints much after them.
func Failed(log string) string {
	const began, failed = "=== RUN   ", "--- FAIL: "
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
		}
		bad = bad || strings.HasPrefix(line, failed)
		test.WriteString(line)
	}
	end()
	return all.String()
}
