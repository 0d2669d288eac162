package machine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Command is the hidden subcommand that a machine's PID 1 is started with.
const Command = "machine"

// Machine is a machine as seen from the host.
type Machine struct {
	Spec Spec
	// PID of the machine's PID 1, as the host counts.
	PID  int
	http *http.Client
}

// Start starts the machine, or finds it running. `program` is this program's file, `listener` what to forward from.
func Start(spec Spec, program string, logfile string, listener *os.File) (*Machine, error) {
	if m, err := Find(spec); err == nil {
		return m, nil
	}
	// One that hangs, or was cut off while it started.
	if _, err := KillBelow(spec.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(spec.Dir, 0o755); err != nil {
		return nil, err
	}
	raw, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(specPath(spec.Dir), raw, 0o644); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(logfile), 0o755); err != nil {
		return nil, err
	}
	out, err := os.OpenFile(logfile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(program, Command, specPath(spec.Dir))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
	if listener != nil {
		cmd.ExtraFiles = []*os.File{listener}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Setsid:     true,
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("machine %s: %w", spec.Name, err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	m := open(spec, cmd.Process.Pid)
	for {
		if _, err := m.Units(); err == nil {
			return m, nil
		}
		select {
		case <-ended:
			return nil, fmt.Errorf("machine %s ended as it started: %s", spec.Name, lastLine(logfile))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Find returns the machine if it runs and answers.
func Find(spec Spec) (*Machine, error) {
	pids, err := running(specPath(spec.Dir))
	if err != nil {
		return nil, err
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("machine %s does not run", spec.Name)
	}
	m := open(spec, pids[0])
	if _, err := m.Units(); err != nil {
		return nil, fmt.Errorf("machine %s does not answer: %w", spec.Name, err)
	}
	return m, nil
}

// KillBelow kills every machine whose folder lies below `dir`, and waits for its end. It needs no record of what was
// started, so it also ends what a crashed `up` left.
func KillBelow(dir string) (int, error) {
	pids, err := RunningBelow(dir)
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			return 0, err
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for _, pid := range pids {
		for alive(pid) {
			if time.Now().After(deadline) {
				return 0, fmt.Errorf("process %d does not end", pid)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return len(pids), nil
}

// RunningBelow lists the PIDs, as the host counts, of machines whose folder lies below `dir`.
func RunningBelow(dir string) ([]int, error) { return running(filepath.Clean(dir) + "/") }

// running lists the PIDs of machines' first processes whose spec file begins with `prefix`.
func running(prefix string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		raw, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil {
			continue
		}
		args := strings.Split(strings.TrimSuffix(string(raw), "\x00"), "\x00")
		if len(args) == 3 && args[1] == Command && strings.HasPrefix(args[2], prefix) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// alive tells a running process from one that ended and waits to be reaped by whoever started it. The thread that ends
// last ends the machine's other processes, and the first thread may be gone long before.
func alive(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The name before its state may contain anything.
	state := bytes.TrimSpace(raw[bytes.LastIndexByte(raw, ')')+1:])
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err == nil && (len(threads) > 1 || !bytes.HasPrefix(state, []byte("Z")))
}

func specPath(dir string) string { return filepath.Join(dir, "machine.json") }

func open(spec Spec, pid int) *Machine {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", spec.Socket)
	}
	return &Machine{Spec: spec, PID: pid, http: &http.Client{
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
		Timeout:   10 * time.Second,
	}}
}

// Units says what runs.
func (m *Machine) Units() ([]UnitStatus, error) {
	var units []UnitStatus
	response, err := m.http.Get("http://machine/units")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return units, json.NewDecoder(response.Body).Decode(&units)
}

// Run makes sure that the unit runs with exactly this command line.
func (m *Machine) Run(unit Unit) error {
	raw, err := json.Marshal(unit)
	if err != nil {
		return err
	}
	return m.order(http.MethodPut, "/units/"+unit.Name, raw)
}

// Restart kills the unit; the machine starts it again.
func (m *Machine) Restart(unit string) error {
	return m.order(http.MethodPost, "/units/"+unit+"/restart", nil)
}

// Stop ends the unit until it is restarted.
func (m *Machine) Stop(unit string) error {
	return m.order(http.MethodPost, "/units/"+unit+"/stop", nil)
}

func (m *Machine) order(method, path string, body []byte) error {
	request, err := http.NewRequest(method, "http://machine"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := m.http.Do(request)
	if err != nil {
		return fmt.Errorf("machine %s: %w", m.Spec.Name, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		return fmt.Errorf("machine %s: %s", m.Spec.Name, bytes.TrimSpace(text))
	}
	return nil
}

// Exec is a command that runs inside the machine, in all its namespaces.
func (m *Machine) Exec(args ...string) *exec.Cmd {
	return m.enter([]string{"--mount", "--uts", "--ipc", "--net", "--pid"}, args)
}

// ExecNet is a command of the host that runs on the machine's network.
func (m *Machine) ExecNet(args ...string) *exec.Cmd {
	return m.enter([]string{"--net"}, args)
}

// ExecBound is a command with the host's files that runs on the machine's network, and ends when the machine ends.
func (m *Machine) ExecBound(args ...string) *exec.Cmd {
	return m.enter([]string{"--net", "--pid"}, args)
}

func (m *Machine) enter(namespaces, args []string) *exec.Cmd {
	all := append([]string{"--target", strconv.Itoa(m.PID)}, namespaces...)
	return exec.Command("nsenter", append(append(all, "--"), args...)...)
}

// Output runs a command inside the machine; the error carries what it printed.
func Output(cmd *exec.Cmd) (string, error) {
	out, err := cmd.CombinedOutput()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return "", fmt.Errorf("%s: %s: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
		}
		return "", err
	}
	return string(out), nil
}

func lastLine(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return lines[len(lines)-1]
}
