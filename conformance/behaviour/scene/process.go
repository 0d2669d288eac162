package scene

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Process is a program that runs in a pod of a node on this machine, by the host's number.
type Process int

// ErrElsewhere is said of pods whose processes this machine does not have.
var ErrElsewhere = errors.New("no such process on this machine: the nodes are elsewhere")

// ProcessOf finds the program in a pod: the kernel knows the pod by its cgroup.
func ProcessOf(pod *Object, program string) (Process, error) {
	uid := string(pod.GetUID())
	return findProcess(fmt.Sprintf("%s in pod %s", program, pod.GetName()), func(p Process) bool {
		cgroup, err := p.read("cgroup")
		if err != nil || !strings.Contains(cgroup, "pod"+uid) && !strings.Contains(cgroup, "pod"+strings.ReplaceAll(uid, "-", "_")) {
			return false
		}
		command, err := p.read("cmdline")
		name, _, _ := strings.Cut(command, "\x00")
		return err == nil && filepath.Base(name) == program
	})
}

// findProcess returns the first process of this machine that is it; a process that ends meanwhile is none.
func findProcess(what string, is func(Process) bool) (Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && is(Process(pid)) {
			return Process(pid), nil
		}
	}
	return 0, fmt.Errorf("%s: %w", what, ErrElsewhere)
}

// read returns what the kernel says of the process in a file.
func (p Process) read(file string) (string, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", int(p), file))
	return string(raw), err
}

// stat is what the kernel says of the process behind its name; the first field is its state. The name may contain anything, so it
// ends at the last bracket.
func (p Process) stat() ([]string, error) {
	text, err := p.read("stat")
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(text[strings.LastIndex(text, ")")+1:])
	if len(fields) < 13 {
		return nil, errors.New("a process's stat is not what it should be")
	}
	return fields, nil
}

// Kill is kill -9.
func (p Process) Kill() error { return syscall.Kill(int(p), syscall.SIGKILL) }

// InNetwork runs a program of this machine in the process's network namespace.
func (p Process) InNetwork(program string, args ...string) error {
	_, err := p.Output(program, args...)
	return err
}

// Output is the same, with what the program prints.
func (p Process) Output(program string, args ...string) (string, error) {
	all := append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", int(p)), "--", program}, args...)
	out, err := exec.Command("nsenter", all...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %v: %w: %s", program, args, err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// Folder that the process sees. It stays open when the process ends.
func (p Process) Folder(path string) (*os.Root, error) {
	return os.OpenRoot(fmt.Sprintf("/proc/%d/root%s", int(p), path))
}

// Entries of a folder, in order.
func Entries(folder *os.Root) ([]string, error) {
	file, err := folder.Open(".")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	names, err := file.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Parent of a process.
func (p Process) Parent() (Process, error) {
	stat, err := p.stat()
	if err != nil {
		return 0, err
	}
	parent, err := strconv.Atoi(stat[1])
	return Process(parent), err
}

// Child of a process that runs this program.
func (p Process) Child(program string) (Process, error) {
	return findProcess(fmt.Sprintf("%s below process %d", program, int(p)), func(other Process) bool {
		name, err := other.read("comm")
		if err != nil || strings.TrimSpace(name) != program {
			return false
		}
		parent, err := other.Parent()
		return err == nil && parent == p
	})
}

// Memory of a process, in MiB.
type Memory struct {
	// Resident is all of it, Own what is not the program's file.
	Resident, Own, Peak float64
}

// Memory it has now.
func (p Process) Memory() (Memory, error) {
	status, err := p.read("status")
	if err != nil {
		return Memory{}, err
	}
	var memory Memory
	for field, value := range map[string]*float64{"VmRSS:": &memory.Resident, "RssAnon:": &memory.Own, "VmHWM:": &memory.Peak} {
		if *value, err = mebibytes(status, field); err != nil {
			return Memory{}, err
		}
	}
	return memory, nil
}

func mebibytes(status, field string) (float64, error) {
	_, rest, found := strings.Cut(status, "\n"+field)
	if !found {
		return 0, fmt.Errorf("no %s in a process's status", field)
	}
	words := strings.Fields(rest)
	if len(words) < 2 || words[1] != "kB" {
		return 0, fmt.Errorf("%s is not in kB", field)
	}
	kibibytes, err := strconv.ParseFloat(words[0], 64)
	return kibibytes / 1024, err
}

// Processor is the time it has used so far, in seconds.
func (p Process) Processor() (float64, error) {
	stat, err := p.stat()
	if err != nil {
		return 0, err
	}
	const ticks = 100 // a second, on every Linux there is
	user, err := strconv.ParseFloat(stat[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(stat[12], 64)
	return (user + system) / ticks, err
}
