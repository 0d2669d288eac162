package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchies are the folders in which a node's cgroup has to be made: one on cgroup v2, one per controller on v1.
func hierarchies() ([]string, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &stat); err != nil {
		return nil, fmt.Errorf("%s: %w", cgroupRoot, err)
	}
	if stat.Type == unix.CGROUP2_SUPER_MAGIC {
		return []string{cgroupRoot}, nil
	}
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, entry := range entries {
		if entry.IsDir() {
			dirs = append(dirs, filepath.Join(cgroupRoot, entry.Name()))
		}
	}
	return dirs, nil
}

// makeCgroup makes the cgroup that the kubelet puts a node's pods in.
func makeCgroup(name string) error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		group := filepath.Join(dir, name)
		if err := os.MkdirAll(group, 0o755); err != nil {
			return err
		}
		// A fresh cpuset has neither processors nor memory, and takes no process.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			raw, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil || len(strings.TrimSpace(string(raw))) == 0 {
				continue // not the cpuset hierarchy
			}
			if err := os.WriteFile(filepath.Join(group, file), raw, 0o644); err != nil {
				return err
			}
		}
		if err := delegate(dir, group); err != nil {
			return err
		}
	}
	return nil
}

// delegate makes the controllers of a v2 hierarchy available below the group. On v1 there is nothing to do.
func delegate(dir, group string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, controller := range strings.Fields(string(raw)) {
		for _, parent := range []string{dir, group} {
			// Some cannot be delegated on some kernels; the kubelet says which of them it misses.
			_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
		}
	}
	return nil
}

// removeCgroups removes every cgroup whose name begins with the prefix; their processes have been killed before.
func removeCgroups(prefix string) error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		groups, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
		if err != nil {
			return err
		}
		for _, group := range groups {
			if err := removeTree(group); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeTree removes a cgroup from its leaves up. The kernel needs a moment after the last process has gone.
func removeTree(group string) error {
	var dirs []string
	err := filepath.WalkDir(group, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // a cgroup that vanished meanwhile is a cgroup less
	})
	if err != nil {
		return err
	}
	deadline := time.Now().Add(10 * time.Second)
	for i := len(dirs) - 1; i >= 0; i-- {
		for {
			err := unix.Rmdir(dirs[i])
			if err == nil || err == unix.ENOENT {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("cgroup %s: %w", dirs[i], err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}
