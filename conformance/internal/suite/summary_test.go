package suite

import (
	"os"
	"path/filepath"
	"testing"
)

// A report as the suite writes it, cut; profiles in the order of a Go map.
const reportText = `apiVersion: gateway.networking.k8s.io/v1
kind: ConformanceReport
gatewayAPIChannel: experimental
gatewayAPIVersion: v1.7.0
implementation: {organization: fairway-dev, project: fairway, version: 0.1.0}
profiles:
- name: MESH-GRPC
  core:
    result: success
    statistics: {Failed: 0, Passed: 3, Skipped: 0}
- name: GATEWAY-HTTP
  core:
    result: failure
    failedTests: [HTTPRouteWeight]
    statistics: {Failed: 1, Passed: 39, Skipped: 0}
  extended:
    result: success
    statistics: {Failed: 0, Passed: 60, Skipped: 0}
    supportedFeatures: [HTTPRouteCORS, ListenerSet]
    unsupportedFeatures: [ClusterTrustBundle]
succeededProvisionalTests: [GatewayPreserveForeignConditions]
`

func readReport(t *testing.T) Report {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.yaml")
	if err := os.WriteFile(path, []byte(reportText), 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := ReadReport(path)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestTheSummaryHasEveryNumberTheUncountedTestsAndTheFailures(t *testing.T) {
	results := Results{
		"":                   {Outcome: Fail, Seconds: 300},
		"HTTPRouteWeight":    {Outcome: Fail, Seconds: 12.4, Error: "weight.go:5: expected 0.7 ± 0.05, got 0.5"},
		"HTTPRouteCORS":      {Outcome: Pass},
		"GRPCRouteNamedRule": {Outcome: Pass},
		"MeshPorts":          {Outcome: Skip},
	}
	want := `profile       core passed  failed  skipped  extended passed  failed  skipped  features  unsupported
GATEWAY-HTTP  39           1       0        60               0       0        2         1
MESH-GRPC     3            0       0        –                –       –        –         –

not supported: ClusterTrustBundle

tests that no profile counts:
  pass GRPCRouteNamedRule
  skip MeshPorts

2 tests passed, 1 failed, 1 not run for want of a feature
  FAIL HTTPRouteWeight (12 s): weight.go:5: expected 0.7 ± 0.05, got 0.5
`
	if got := Summary(readReport(t), results); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestARunWithoutAReportSaysWhatFailedBeforeTheTests(t *testing.T) {
	want := `profile  core passed  failed  skipped  extended passed  failed  skipped  features  unsupported
(no report: the suite ended before it could write one)

0 tests passed, 0 failed, 0 not run for want of a feature
  FAIL before the first test: helpers.go:120: no GatewayClass
`
	if got := Summary(Report{}, Results{"": {Outcome: Fail, Error: "helpers.go:120: no GatewayClass"}}); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
