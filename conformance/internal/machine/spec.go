// Package machine is one machine of the test cluster, made of Linux namespaces.
//
// A machine is a process that is PID 1 of its own PID, network, mount, UTS and IPC namespace. It sees the host's file
// system, but what a node writes (/run, /etc, /var, /opt) is its own. It starts programs ("units"), keeps them running,
// and takes orders on a Unix socket. Killing that one process ends everything that ever ran in the machine, with its
// mounts, interfaces and routes: the kernel cleans up, so nothing can be forgotten.
package machine

import (
	"encoding/json"
	"fmt"
	"os"
)

// Spec describes one machine; it is handed to PID 1 as a file.
type Spec struct {
	// Name is the machine's host name.
	Name string `json:"name"`
	// Dir is the machine's own folder on the host: its disks and its files.
	Dir string `json:"dir"`
	// Socket is where PID 1 takes orders. Short: a Unix socket's path has 107 bytes at most.
	Socket string `json:"socket"`
	// Binds are folders of the host that the machine sees elsewhere, e.g. its /var/lib/containerd.
	Binds []Bind `json:"binds,omitempty"`
	// Forward, if set, is the address in the machine that connections to inherited listener 3 go to.
	Forward string `json:"forward,omitempty"`
}

// Bind is a folder of the host seen at another place in the machine.
type Bind struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Unit is a program that a machine keeps running.
type Unit struct {
	Name string   `json:"name"`
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"`
	// Log is the file that stdout and stderr are appended to.
	Log string `json:"log"`
}

// UnitStatus is what a machine says about one of its units.
type UnitStatus struct {
	Name     string `json:"name"`
	Running  bool   `json:"running"`
	PID      int    `json:"pid,omitempty"` // in the machine's PID namespace
	Restarts int    `json:"restarts"`
	LastExit string `json:"lastExit,omitempty"`
}

// ReadSpec reads the file PID 1 was given.
func ReadSpec(path string) (Spec, error) {
	var spec Spec
	raw, err := os.ReadFile(path)
	if err != nil {
		return spec, err
	}
	if err := json.Unmarshal(raw, &spec); err != nil {
		return spec, fmt.Errorf("%s: %w", path, err)
	}
	return spec, nil
}
