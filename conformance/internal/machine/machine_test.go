package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The test program is also the first process of the machines it starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == Command {
		fmt.Fprintln(os.Stderr, Init(os.Args[2]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func start(t *testing.T) *Machine {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("namespaces and mounts: CI runs this as root")
		}
		t.Skip("namespaces and mounts: run as root")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	m, err := Start(Spec{
		Name: "unit-test", Dir: filepath.Join(dir, "m"), Socket: filepath.Join(dir, "m.sock"),
		Binds: []Bind{{From: filepath.Join(dir, "m", "disk"), To: "/opt/own/disk"}},
	}, self, filepath.Join(dir, "log"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := KillBelow(dir); err != nil {
			t.Error(err)
		}
	})
	return m
}

// wait polls for what another process does; there is nothing to wait on.
func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in 15 s: %s", what)
		}
	}
}

func statusOf(t *testing.T, m *Machine, name string) UnitStatus {
	t.Helper()
	units, err := m.Units()
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		if u.Name == name {
			return u
		}
	}
	t.Fatalf("no unit %s in %+v", name, units)
	return UnitStatus{}
}

func TestAMachineSeesItsOwnAndLeavesNothing(t *testing.T) {
	m := start(t)
	out, err := Output(m.Exec("sh", "-c", "hostname; echo $$; ls /run; echo a > /etc/written-by-unit-test; echo b > /opt/own/disk/file; ip -o link | wc -l; ls /sys/class/net"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(out)
	if want := "unit-test"; lines[0] != want {
		t.Errorf("host name %s, want %s", lines[0], want)
	}
	if got := strings.Join(lines[2:], " "); got != "netns 1 lo" {
		t.Errorf("in /run, and on its network: %q", got)
	}
	for _, path := range []string{"/etc/written-by-unit-test", "/opt/own"} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("the host has %s", path)
		}
	}
	if raw, err := os.ReadFile(filepath.Join(m.Spec.Dir, "disk", "file")); err != nil || string(raw) != "b\n" {
		t.Errorf("its disk: %q, %v", raw, err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), m.Spec.Dir) {
		t.Error("a mount of the machine reached the host")
	}
}

func TestAUnitRunsAsAskedAndComesBack(t *testing.T) {
	m := start(t)
	log := filepath.Join(m.Spec.Dir, "unit.log")
	sleep := Unit{Name: "sleep", Args: []string{"sh", "-c", "echo started $WHY; exec sleep 1000"}, Env: []string{"WHY=asked"}, Log: log}
	if err := m.Run(sleep); err != nil {
		t.Fatal(err)
	}
	wait(t, "its output", func() bool { raw, _ := os.ReadFile(log); return string(raw) == "started asked\n" })
	first := statusOf(t, m, "sleep")
	if err := m.Run(sleep); err != nil {
		t.Fatal(err)
	}
	if again := statusOf(t, m, "sleep"); again != first {
		t.Errorf("asking twice changed %+v to %+v", first, again)
	}
	if err := m.Restart("sleep"); err != nil {
		t.Fatal(err)
	}
	wait(t, "a second start", func() bool { u := statusOf(t, m, "sleep"); return u.Running && u.Restarts == 1 && u.PID != first.PID })
	if u := statusOf(t, m, "sleep"); u.LastExit != "signal killed" {
		t.Errorf("how it ended: %q", u.LastExit)
	}
	if err := m.Stop("sleep"); err != nil {
		t.Fatal(err)
	}
	wait(t, "its end", func() bool { return !statusOf(t, m, "sleep").Running })
	if err := m.Run(Unit{Name: "none", Args: []string{"/no/such/program"}, Log: log}); err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestOrphansAreReapedAndEverythingEndsWithTheMachine(t *testing.T) {
	m := start(t)
	// Two orphans: one ends and must not stay as a zombie, one would live for long.
	if _, err := Output(m.Exec("sh", "-c", "(sleep 0.01 &) ; (setsid sleep 987654 >/dev/null 2>&1 &)")); err != nil {
		t.Fatal(err)
	}
	wait(t, "no zombie", func() bool {
		out, err := Output(m.Exec("sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null"))
		return err == nil && !strings.Contains(out, "(sleep) Z")
	})
	killed, err := KillBelow(filepath.Dir(m.Spec.Dir))
	if err != nil || killed != 1 {
		t.Fatalf("killed %d: %v", killed, err)
	}
	if _, err := Find(m.Spec); err == nil {
		t.Error("it is still found")
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if raw, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline")); string(raw) == "sleep\x00987654\x00" {
			t.Errorf("process %s of the machine lives", entry.Name())
		}
	}
}
