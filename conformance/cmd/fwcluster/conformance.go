package main

import (
	"errors"
	"flag"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// conformance is the whole: cluster up, programs and charts in, suite, report, tests of behaviour, cluster down.
func (t *tool) conformance(args []string) (err error) {
	flags := flag.NewFlagSet("conformance", flag.ContinueOnError)
	install := flags.Bool("install-packages", os.Getenv("CI") != "", "install missing system packages with apt (the default if CI is set)")
	leave := flags.Bool("leave", false, "leave the cluster up")
	dual := flags.Bool("dual-stack", false, "on a cluster with addresses of IPv6 beside those of IPv4")
	channel := flags.String("channel", "experimental", "Gateway API channel: experimental or standard")
	profile := flags.String("profile", testProfile, "cargo profile of our programs")
	suite := flags.Bool("suite", true, "run the suite")
	behaviour := flags.String("behaviour", "release", "tests of behaviour to run after the suite: change, release, dual-stack, all, none")
	read := t.planFlags(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	plan, err := read()
	if err != nil {
		return err
	}
	if t.kubeconfig == "" && t.kind == "" {
		if !*leave {
			t.downWhenInterrupted()
			defer func() { err = errors.Join(err, t.Down(t.report)) }()
		}
		if err := t.boot(*install, *dual); err != nil {
			return err
		}
	}
	on, err := t.target()
	if err != nil {
		return err
	}
	if buildsPrograms(on) {
		names, err := t.programs("")
		if err != nil {
			return err
		}
		if err := t.loadPrograms(on, names, "", *profile, true); err != nil {
			return err
		}
	}
	if err := t.installCharts(on, *channel, false, nil); err != nil {
		return err
	}
	if *suite {
		err = t.runSuite(on, plan)
	}
	if *behaviour == "none" || plan.options.RunTest != "" {
		return err
	}
	// One after the other, whatever comes of the first: each is looked at for itself.
	return errors.Join(err, t.runBehaviour(on, behaviourPlan{when: *behaviour, dir: filepath.Join(plan.dir, "behaviour"), built: t.builtFolder(*profile)}))
}

// downWhenInterrupted takes the cluster down when a person, or CI, has had enough.
func (t *tool) downWhenInterrupted() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		received := <-signals
		t.report.Say("%s", received)
		_ = t.Down(t.report)
		os.Exit(130)
	}()
}

// buildsPrograms says whether our images are to be built and put on the nodes: not on a cluster behind --kubeconfig.
func buildsPrograms(on target) bool {
	foreign, is := on.(existing)
	return !is || foreign.kind != ""
}
