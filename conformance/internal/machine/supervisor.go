package machine

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"sort"
	"sync"
	"syscall"
	"time"
)

// How long after its end a unit is started again.
const restartDelay = time.Second

// supervisor keeps units running. As PID 1 it also reaps every orphan of the machine.
type supervisor struct {
	mu    sync.Mutex
	units map[string]*unit
}

type unit struct {
	spec     Unit
	pid      int // 0 while not running
	stopped  bool
	restarts int
	lastExit string
}

func newSupervisor() *supervisor { return &supervisor{units: map[string]*unit{}} }

// put starts the unit, or restarts it if it runs with another command line. A unit that runs as asked is left alone.
func (s *supervisor) put(spec Unit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[spec.Name]
	if u == nil {
		u = &unit{}
		s.units[spec.Name] = u
	}
	same := reflect.DeepEqual(u.spec, spec)
	u.spec, u.stopped = spec, false
	switch {
	case u.pid == 0:
		return s.startLocked(u)
	case same:
		return nil
	default: // its end starts it again
		return syscall.Kill(u.pid, syscall.SIGKILL)
	}
}

// signal sends a signal to a running unit. A stopped unit is not started again.
func (s *supervisor) signal(name string, sig syscall.Signal, stop bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.units[name]
	if u == nil {
		return fmt.Errorf("no unit %q here", name)
	}
	u.stopped = stop
	if u.pid == 0 {
		if stop {
			return nil
		}
		return s.startLocked(u)
	}
	return syscall.Kill(u.pid, sig)
}

func (s *supervisor) status() []UnitStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]UnitStatus, 0, len(s.units))
	for _, u := range s.units {
		all = append(all, UnitStatus{Name: u.spec.Name, Running: u.pid != 0, PID: u.pid, Restarts: u.restarts, LastExit: u.lastExit})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

func (s *supervisor) startLocked(u *unit) error {
	path, err := exec.LookPath(u.spec.Args[0])
	if err != nil {
		return fmt.Errorf("unit %s: %w", u.spec.Name, err)
	}
	if err := os.MkdirAll(filepath.Dir(u.spec.Log), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(u.spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	// Not os/exec: its Wait would race with the reaper for the exit status.
	pid, err := syscall.ForkExec(path, u.spec.Args, &syscall.ProcAttr{
		Env:   append(os.Environ(), u.spec.Env...),
		Files: []uintptr{null.Fd(), out.Fd(), out.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("unit %s: %w", u.spec.Name, err)
	}
	u.pid = pid
	return nil
}

// reap collects every child that ended, and arranges for units among them to be started again.
func (s *supervisor) reap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		for _, u := range s.units {
			if u.pid == pid {
				s.endedLocked(u, status)
			}
		}
	}
}

func (s *supervisor) endedLocked(u *unit, status syscall.WaitStatus) {
	u.pid = 0
	u.lastExit = describeExit(status)
	if u.stopped {
		return
	}
	log.Printf("%s ended: %s; starting it again in %s", u.spec.Name, u.lastExit, restartDelay)
	time.AfterFunc(restartDelay, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if u.pid != 0 || u.stopped {
			return
		}
		u.restarts++
		if err := s.startLocked(u); err != nil {
			log.Print(err)
		}
	})
}

func describeExit(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "signal " + status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}
