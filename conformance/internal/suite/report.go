package suite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sort"

	"sigs.k8s.io/yaml"
)

// Report is what the suite writes, as far as it is read here.
type Report struct {
	GatewayAPIVersion string         `json:"gatewayAPIVersion"`
	GatewayAPIChannel string         `json:"gatewayAPIChannel"`
	Implementation    Implementation `json:"implementation"`
	Profiles          []Profile      `json:"profiles"`
	Provisional       []string       `json:"succeededProvisionalTests"`
}

// Implementation that was tested.
type Implementation struct {
	Project string `json:"project"`
	Version string `json:"version"`
}

// Profile is one profile's part of the report.
type Profile struct {
	Name     string    `json:"name"`
	Core     Status    `json:"core"`
	Extended *Extended `json:"extended"`
}

// Status counts tests.
type Status struct {
	Result     string `json:"result"`
	Statistics struct {
		Passed  int `json:"Passed"`
		Failed  int `json:"Failed"`
		Skipped int `json:"Skipped"`
	} `json:"statistics"`
	FailedTests  []string `json:"failedTests"`
	SkippedTests []string `json:"skippedTests"`
}

// Extended is the part beyond core.
type Extended struct {
	Status      `json:",inline"`
	Supported   []string `json:"supportedFeatures"`
	Unsupported []string `json:"unsupportedFeatures"`
}

// ReadReport reads a report of the suite. A file that is not there is an empty report.
func ReadReport(path string) (Report, error) {
	var report Report
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return report, nil
	}
	if err != nil {
		return report, err
	}
	if err := yaml.Unmarshal(raw, &report); err != nil {
		return report, fmt.Errorf("%s: %w", path, err)
	}
	rank := map[string]int{}
	for i, name := range AllProfiles {
		rank[name] = i
	}
	sort.SliceStable(report.Profiles, func(i, j int) bool { return rank[report.Profiles[i].Name] < rank[report.Profiles[j].Name] })
	return report, nil
}

func (r Report) profile(name string) (Profile, bool) {
	for _, profile := range r.Profiles {
		if profile.Name == name {
			return profile, true
		}
	}
	return Profile{}, false
}
