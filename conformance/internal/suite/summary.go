package suite

import (
	"fmt"
	"sort"
	"strings"
	"text/tabwriter"
)

// Summary is what a person wants to know of a run.
func Summary(report Report, results Results) string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "profile\tcore passed\tfailed\tskipped\textended passed\tfailed\tskipped\tfeatures\tunsupported")
	for _, p := range report.Profiles {
		core := p.Core.Statistics
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t", p.Name, core.Passed, core.Failed, core.Skipped)
		if p.Extended == nil {
			fmt.Fprintln(table, "–\t–\t–\t–\t–")
			continue
		}
		extended := p.Extended.Statistics
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%d\n", extended.Passed, extended.Failed, extended.Skipped,
			len(p.Extended.Supported), len(p.Extended.Unsupported))
	}
	_ = table.Flush()
	if len(report.Profiles) == 0 {
		text.WriteString("(no report: the suite ended before it could write one)\n")
	}
	unsupported := map[string]bool{}
	for _, p := range report.Profiles {
		if p.Extended != nil {
			for _, feature := range p.Extended.Unsupported {
				unsupported[feature] = true
			}
		}
	}
	if len(unsupported) > 0 {
		fmt.Fprintf(&text, "\nnot supported: %s\n", strings.Join(sorted(unsupported), ", "))
	}
	writeUncounted(&text, results)
	writeFailed(&text, results)
	return text.String()
}

func writeUncounted(text *strings.Builder, results Results) {
	var lines []string
	for _, name := range Uncounted {
		if result, ran := results[name]; ran {
			lines = append(lines, fmt.Sprintf("  %-4s %s\n", result.Outcome, name))
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(text, "\ntests that no profile counts:\n%s", strings.Join(lines, ""))
	}
}

func writeFailed(text *strings.Builder, results Results) {
	failed := map[string]bool{}
	passed := 0
	for name, result := range results {
		switch {
		case name == "":
		case result.Outcome == Fail:
			failed[name] = true
		case result.Outcome == Pass:
			passed++
		}
	}
	fmt.Fprintf(text, "\n%d tests passed, %d failed, %d not run for want of a feature\n", passed, len(failed), len(results)-passed-len(failed)-has(results, ""))
	for _, name := range sorted(failed) {
		fmt.Fprintf(text, "  FAIL %s (%.0f s): %s\n", name, results[name].Seconds, results[name].Error)
	}
	if setup := results[""]; setup.Outcome == Fail && len(failed) == 0 {
		fmt.Fprintf(text, "  FAIL before the first test: %s\n", setup.Error)
	}
}

func has(results Results, name string) int {
	if _, there := results[name]; there {
		return 1
	}
	return 0
}

func sorted(set map[string]bool) []string {
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
