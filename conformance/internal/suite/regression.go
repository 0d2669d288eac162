package suite

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
)

// Run is what is kept of a run: the suite's report, and every test's outcome.
type Run struct {
	Report  Report
	Results Results
}

// Empty says that there is no such run.
func (r Run) Empty() bool { return len(r.Results) == 0 && len(r.Report.Profiles) == 0 }

// resultsFile is beside the report, which is named as upstream wants it.
const resultsFile = "results.json"

// ReportFile is the name upstream's reports have.
func ReportFile(channel, version string) string {
	return fmt.Sprintf("%s-%s-default-report.yaml", channel, version)
}

// ReadRun reads a run from its folder; an empty folder gives an empty run.
func ReadRun(dir string) (Run, error) {
	var run Run
	reports, err := filepath.Glob(filepath.Join(dir, "*-report.yaml"))
	if err != nil {
		return run, err
	}
	if len(reports) > 1 {
		return run, fmt.Errorf("%s has %d reports; one is meant to be there", dir, len(reports))
	}
	for _, report := range reports {
		if run.Report, err = ReadReport(report); err != nil {
			return run, err
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, resultsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return run, nil
	}
	if err != nil {
		return run, err
	}
	if err := json.Unmarshal(raw, &run.Results); err != nil {
		return run, fmt.Errorf("%s: %w", filepath.Join(dir, resultsFile), err)
	}
	return run, nil
}

// WriteResults keeps every test's outcome. Times are left out: they would differ each time.
func WriteResults(dir string, results Results) error {
	plain := Results{}
	for name, result := range results {
		if name != "" {
			plain[name] = Result{Outcome: result.Outcome, Error: result.Error}
		}
	}
	raw, err := json.MarshalIndent(plain, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, resultsFile), append(raw, '\n'), 0o644)
}

// Regressions are what the committed run could and this one cannot, among the profiles that were asked for.
func Regressions(committed, now Run, profiles []string) []string {
	var lost []string
	// A run of some profiles says nothing of the tests of others.
	whole := true
	for _, before := range committed.Report.Profiles {
		whole = whole && slices.Contains(profiles, before.Name)
	}
	for name, before := range committed.Results {
		after, ran := now.Results[name]
		switch {
		case before.Outcome != Pass || after.Outcome == Pass:
		case after.Outcome == Fail:
			lost = append(lost, fmt.Sprintf("test %s passed before: %s", name, after.Error))
		case !whole:
		case ran:
			lost = append(lost, fmt.Sprintf("test %s passed before, and was skipped now", name))
		default:
			lost = append(lost, fmt.Sprintf("test %s passed before, and did not run now", name))
		}
	}
	for _, before := range committed.Report.Profiles {
		if !slices.Contains(profiles, before.Name) {
			continue
		}
		if after, there := now.Report.profile(before.Name); there {
			lost = append(lost, lostInProfile(before, after)...)
		} else {
			lost = append(lost, fmt.Sprintf("profile %s is not in the report any more", before.Name))
		}
	}
	for _, name := range committed.Report.Provisional {
		if whole && !slices.Contains(now.Report.Provisional, name) {
			lost = append(lost, fmt.Sprintf("provisional test %s succeeded before", name))
		}
	}
	sort.Strings(lost)
	return lost
}

func lostInProfile(before, after Profile) []string {
	var lost []string
	compare := func(part string, before, after Status) {
		if before.Statistics.Passed > after.Statistics.Passed {
			lost = append(lost, fmt.Sprintf("%s: %d tests passed before, %d now", part, before.Statistics.Passed, after.Statistics.Passed))
		}
	}
	compare("profile "+before.Name+", core", before.Core, after.Core)
	if before.Extended == nil {
		return lost
	}
	extended := after.Extended
	if extended == nil {
		extended = &Extended{}
	}
	compare("profile "+before.Name+", extended", before.Extended.Status, extended.Status)
	for _, feature := range before.Extended.Supported {
		if !slices.Contains(extended.Supported, feature) {
			lost = append(lost, fmt.Sprintf("profile %s: feature %s is not claimed any more", before.Name, feature))
		}
	}
	return lost
}
