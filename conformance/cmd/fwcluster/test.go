package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairway-mesh/fairway/conformance/internal/cluster"
	"github.com/fairway-mesh/fairway/conformance/internal/suite"
	"github.com/fairway-mesh/fairway/conformance/internal/toolchain"
)

// The profiles claimed today, and what the profiles of the mesh need: the chart's XMesh, and the label that puts
// the suite's namespaces in the mesh.
const (
	defaultProfiles = "all"
	meshName        = "fairway"
	meshLabels      = "fairway.dev/mesh=enabled"
)

// testPlan is what one run of the suite is to be.
type testPlan struct {
	options   suite.Options
	dir       string
	committed string
}

// planFlags declares the flags of `test` and returns what reads them.
func (t *tool) planFlags(flags *flag.FlagSet) func() (testPlan, error) {
	profiles := flags.String("profiles", defaultProfiles, "conformance profiles, with commas; `all` for all seven")
	run := flags.String("run-test", "", "run this one test only")
	class := flags.String("gateway-class", "fairway", "GatewayClass")
	mesh := flags.String("mesh-name", "", "XMesh whose features are claimed (with a profile of the mesh: "+meshName+")")
	labels := flags.String("namespace-labels", "", "labels for the suite's namespaces, k=v with commas (with a profile of the mesh: "+meshLabels+")")
	usable := flags.String("usable-address", "", "address a Gateway can have (ours: "+cluster.UsableAddress+")")
	unusable := flags.String("unusable-address", "", "address no Gateway can have (ours: "+cluster.UnusableAddress+")")
	keep := flags.Bool("keep", false, "leave the suite's base resources, for a quick next run")
	dir := flags.String("report-dir", "", "where report, log and results go (default: in the cache folder)")
	committed := flags.String("compare", filepath.Join(t.builder.Source, "reports", "v1.7"), "folder of the run that this one must not fall behind")
	return func() (testPlan, error) {
		version, err := t.version()
		if err != nil {
			return testPlan{}, err
		}
		plan := testPlan{dir: *dir, committed: *committed}
		if plan.dir == "" {
			plan.dir = filepath.Join(t.Cache, "reports", time.Now().Format("2006-01-02T15-04-05"))
		}
		names := strings.Split(*profiles, ",")
		if *profiles == "all" {
			names = suite.AllProfiles
		}
		if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "MESH-") }) {
			*mesh, *labels = or(*mesh, meshName), or(*labels, meshLabels)
		}
		plan.options = suite.Options{
			GatewayClass: *class, MeshName: *mesh, Profiles: names, RunTest: *run, NamespaceLabels: *labels,
			Usable: *usable, Unusable: *unusable, Keep: *keep, Version: version, More: flags.Args(),
			Report: filepath.Join(plan.dir, suite.ReportFile("experimental", version)),
		}
		return plan, nil
	}
}

func (t *tool) test(args []string) error {
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	read := t.planFlags(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	plan, err := read()
	if err != nil {
		return err
	}
	on, err := t.target()
	if err != nil {
		return err
	}
	return t.runSuite(on, plan)
}

// runSuite runs the suite and says what came of it. It fails if anything got worse than the committed run, or, where
// nothing is committed or one test was asked for, if a test failed.
func (t *tool) runSuite(on target, plan testPlan) error {
	if err := t.suiteImages(on); err != nil {
		return err
	}
	bins, err := t.build(toolchain.Suite)
	if err != nil {
		return err
	}
	inside, kubeconfig, err := on.Inside(filepath.Join(bins["suite"], toolchain.Suite.Test))
	if err != nil {
		return err
	}
	plan.options.Kubeconfig = kubeconfig
	if _, own := on.(ours); own {
		plan.options.Usable = or(plan.options.Usable, cluster.UsableAddress)
		plan.options.Unusable = or(plan.options.Unusable, cluster.UnusableAddress)
	}
	if err := os.MkdirAll(plan.dir, 0o755); err != nil {
		return err
	}
	var results suite.Results
	var autopsies sync.WaitGroup
	defer autopsies.Wait()
	err = t.report.Step("suite", func() error {
		runner := suite.Runner{
			Suite: inside, Test2JSON: t.builder.Go(toolchain.Suite, "tool", "test2json", "-t"),
			Log: filepath.Join(plan.dir, "suite.log"),
			Finished: func(name string, result suite.Result) {
				if name == "" || result.Outcome == suite.Skip {
					return
				}
				t.report.Say("  %-4s %s (%.1f s)", result.Outcome, name, result.Seconds)
				if result.Outcome == suite.Fail {
					autopsies.Go(func() { t.autopsy(on, filepath.Join(plan.dir, "failed", name)) })
				}
			},
		}
		var err error
		results, err = runner.Run(plan.options.Arguments())
		return err
	})
	if err != nil {
		return err
	}
	return t.conclude(on, plan, results)
}

func (t *tool) conclude(on target, plan testPlan, results suite.Results) error {
	report, err := suite.ReadReport(plan.options.Report)
	if err != nil {
		return err
	}
	if err := suite.WriteResults(plan.dir, results); err != nil {
		return err
	}
	summary := suite.Summary(report, results)
	if err := os.WriteFile(filepath.Join(plan.dir, "summary.txt"), []byte(summary), 0o644); err != nil {
		return err
	}
	fmt.Printf("\n%s\nreport, log, results: %s\n", summary, plan.dir)
	failed := results.Failed()
	if len(failed) > 0 {
		t.autopsy(on, filepath.Join(plan.dir, "failed", "at-the-end"))
		t.report.Say("logs and objects around each failure: %s", filepath.Join(plan.dir, "failed"))
	}
	if plan.options.RunTest != "" {
		return verdict(failed)
	}
	committed, err := suite.ReadRun(plan.committed)
	if err != nil {
		return err
	}
	if committed.Empty() {
		fmt.Printf("no run is committed in %s; nothing to compare with\n", plan.committed)
		return verdict(failed)
	}
	lost := suite.Regressions(committed, suite.Run{Report: report, Results: results}, plan.options.Profiles)
	if len(lost) == 0 {
		fmt.Println("nothing is worse than in the committed run")
		return nil
	}
	return fmt.Errorf("worse than the committed run in %s:\n  %s", plan.committed, strings.Join(lost, "\n  "))
}

func verdict(failed []string) error {
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

func or(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
