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
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		cgroup, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cgroup"))
		if err != nil || !bytes.Contains(cgroup, []byte("pod"+uid)) && !bytes.Contains(cgroup, []byte("pod"+strings.ReplaceAll(uid, "-", "_"))) {
			continue
		}
		command, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil {
			continue
		}
		name, _, _ := bytes.Cut(command, []byte{0})
		if filepath.Base(string(name)) == program {
			return Process(pid), nil
		}
	}
	return 0, fmt.Errorf("%s in pod %s: %w", program, pod.GetName(), ErrElsewhere)
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
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", int(p)))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	words := strings.Fields(rest)
	if len(words) < 2 {
		return 0, errors.New("a process's stat is not what it should be")
	}
	parent, err := strconv.Atoi(words[1])
	return Process(parent), err
}

// Child of a process that runs this program.
func (p Process) Child(program string) (Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		name, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "comm"))
		if err != nil || strings.TrimSpace(string(name)) != program {
			continue
		}
		if parent, err := Process(pid).Parent(); err == nil && parent == p {
			return Process(pid), nil
		}
	}
	return 0, fmt.Errorf("%s below process %d: %w", program, int(p), ErrElsewhere)
}

// Memory of a process, in MiB.
type Memory struct {
	// Resident is all of it, Own what is not the program's file.
	Resident, Own, Peak float64
}

// Memory it has now.
func (p Process) Memory() (Memory, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", int(p)))
	if err != nil {
		return Memory{}, err
	}
	var memory Memory
	for field, value := range map[string]*float64{"VmRSS:": &memory.Resident, "RssAnon:": &memory.Own, "VmHWM:": &memory.Peak} {
		if *value, err = mebibytes(raw, field); err != nil {
			return Memory{}, err
		}
	}
	return memory, nil
}

func mebibytes(status []byte, field string) (float64, error) {
	_, rest, found := strings.Cut(string(status), "\n"+field)
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
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", int(p)))
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(raw), ") ")
	words := strings.Fields(rest)
	if !found || len(words) < 13 {
		return 0, errors.New("a process's stat is not what it should be")
	}
	const ticks = 100 // a second, on every Linux there is
	user, err := strconv.ParseFloat(words[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(words[12], 64)
	return (user + system) / ticks, err
}
