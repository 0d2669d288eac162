package suite

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func status(passed int) Status {
	s := Status{Result: "success"}
	s.Statistics.Passed = passed
	return s
}

// committedRun claims two profiles; every case below changes one thing of a run like it.
func committedRun() Run {
	return Run{
		Report: Report{
			Profiles: []Profile{
				{Name: "GATEWAY-HTTP", Core: status(2), Extended: &Extended{Status: status(1), Supported: []string{"HTTPRouteCORS"}}},
				{Name: "GATEWAY-UDP", Core: status(1)},
			},
			Provisional: []string{"GatewayPreserveForeignConditions"},
		},
		Results: Results{
			"HTTPRouteWeight": {Outcome: Pass}, "HTTPRouteCORS": {Outcome: Pass}, "UDPRoute": {Outcome: Pass},
			"GRPCRouteNamedRule": {Outcome: Pass}, "MeshPorts": {Outcome: Skip}, "TLSRouteMixed": {Outcome: Fail},
		},
	}
}

func TestWhatTheCommittedRunCouldMustStillWork(t *testing.T) {
	both := []string{"GATEWAY-HTTP", "GATEWAY-UDP"}
	cases := []struct {
		name     string
		profiles []string
		change   func(*Run)
		want     []string
	}{
		{"the same again", both, func(*Run) {}, nil},
		{"better in everything", append(both, "GATEWAY-TLS"), func(r *Run) {
			r.Results["TLSRouteMixed"] = Result{Outcome: Pass}
			r.Report.Profiles[0].Core = status(9)
			r.Report.Profiles = append(r.Report.Profiles, Profile{Name: "GATEWAY-TLS"})
		}, nil},
		{"a test that never passed may fail", both, func(r *Run) { r.Results["MeshPorts"] = Result{Outcome: Fail} }, nil},
		{"an uncounted test fails", both, func(r *Run) {
			r.Results["GRPCRouteNamedRule"] = Result{Outcome: Fail, Error: "grpc.go:7: no"}
		}, []string{"test GRPCRouteNamedRule passed before: grpc.go:7: no"}},
		{"a test is skipped", both, func(r *Run) { r.Results["UDPRoute"] = Result{Outcome: Skip} },
			[]string{"test UDPRoute passed before, and was skipped now"}},
		{"a test does not run", both, func(r *Run) { delete(r.Results, "UDPRoute") },
			[]string{"test UDPRoute passed before, and did not run now"}},
		{"fewer tests of a profile pass", both, func(r *Run) { r.Report.Profiles[1].Core = status(0) },
			[]string{"profile GATEWAY-UDP, core: 1 tests passed before, 0 now"}},
		{"a feature is not claimed", both, func(r *Run) { r.Report.Profiles[0].Extended.Supported = nil },
			[]string{"profile GATEWAY-HTTP: feature HTTPRouteCORS is not claimed any more"}},
		{"no extended test ran", both, func(r *Run) { r.Report.Profiles[0].Extended = nil },
			[]string{"profile GATEWAY-HTTP, extended: 1 tests passed before, 0 now", "profile GATEWAY-HTTP: feature HTTPRouteCORS is not claimed any more"}},
		{"a profile vanishes", both, func(r *Run) { r.Report.Profiles = r.Report.Profiles[:1] },
			[]string{"profile GATEWAY-UDP is not in the report any more"}},
		{"a provisional test does not succeed", both, func(r *Run) { r.Report.Provisional = nil },
			[]string{"provisional test GatewayPreserveForeignConditions succeeded before"}},
		{"there is no report at all", both, func(r *Run) { r.Report = Report{Provisional: r.Report.Provisional} },
			[]string{"profile GATEWAY-HTTP is not in the report any more", "profile GATEWAY-UDP is not in the report any more"}},
		{"only one profile was asked for", []string{"GATEWAY-UDP"}, func(r *Run) {
			r.Report = Report{Profiles: r.Report.Profiles[1:]}
			r.Results = Results{"UDPRoute": {Outcome: Pass}, "HTTPRouteWeight": {Outcome: Skip}}
		}, nil},
		{"only one was asked for, and it fails", []string{"GATEWAY-UDP"}, func(r *Run) {
			r.Report = Report{Profiles: r.Report.Profiles[1:]}
			r.Results = Results{"UDPRoute": {Outcome: Fail, Error: "lost"}}
		}, []string{"test UDPRoute passed before: lost"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			now := committedRun()
			c.change(&now)
			if got := Regressions(committedRun(), now, c.profiles); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestARunIsReadBackAsItWasWritten(t *testing.T) {
	dir := t.TempDir()
	empty, err := ReadRun(dir)
	if err != nil || !empty.Empty() {
		t.Fatalf("an empty folder: %v, %v", empty, err)
	}
	if err := WriteResults(dir, Results{"": {Outcome: Pass}, "A": {Outcome: Pass, Seconds: 3}, "B": {Outcome: Fail, Error: "why"}}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, ReportFile("experimental", "0.1.0"))
	if err := os.WriteFile(path, []byte(reportText), 0o600); err != nil {
		t.Fatal(err)
	}
	run, err := ReadRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(run.Results) != 2 || run.Results["A"] != (Result{Outcome: Pass}) || run.Results["B"].Error != "why" {
		t.Errorf("results: %+v", run.Results)
	}
	if profile, there := run.Report.profile("GATEWAY-HTTP"); !there || profile.Extended.Statistics.Passed != 60 {
		t.Errorf("report: %+v", run.Report)
	}
	if err := os.WriteFile(filepath.Join(dir, "standard-0.1.0-default-report.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRun(dir); err == nil || !strings.Contains(err.Error(), "2 reports") {
		t.Errorf("two reports in a folder: %v", err)
	}
}

func TestNoTestIsSkippedAndNoFeatureIsNamed(t *testing.T) {
	args := Options{Kubeconfig: "k", GatewayClass: "fairway", Profiles: AllProfiles, Version: "0.1.0", Report: "r", Usable: "1.2.3.4"}.Arguments()
	for _, arg := range args {
		for _, forbidden := range []string{"--skip-tests", "--supported-features", "--exempt-features", "--all-features", "--skip-provisional", "--run-test"} {
			if strings.HasPrefix(arg, forbidden) {
				t.Errorf("%s is given", arg)
			}
		}
	}
	for _, want := range []string{"--conformance-profiles=GATEWAY-HTTP,GATEWAY-GRPC,GATEWAY-TLS,GATEWAY-TCP,GATEWAY-UDP,MESH-HTTP,MESH-GRPC", "--usable-address=1.2.3.4"} {
		if !slices.Contains(args, want) {
			t.Errorf("%s is not in %q", want, args)
		}
	}
}
