package cluster

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Settings of the whole kernel that a kubelet changes, and limits that two nodes full of pods need.
var kubeletSettings = []string{
	"kernel/keys/root_maxbytes", "kernel/keys/root_maxkeys", "kernel/panic", "kernel/panic_on_oops",
	"vm/overcommit_memory", "vm/panic_on_oom",
}

var neededLimits = map[string]string{"fs/inotify/max_user_instances": "1024"}

// saveKernelSettings notes what the settings are before the first kubelet starts, so that `down` can put them back.
func saveKernelSettings(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	saved := map[string]string{}
	for _, name := range kubeletSettings {
		if value, err := readSetting(name); err == nil {
			saved[name] = value
		}
	}
	for name := range neededLimits {
		if value, err := readSetting(name); err == nil {
			saved[name] = value
		}
	}
	raw, err := json.MarshalIndent(saved, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		return err
	}
	for name, value := range neededLimits {
		if err := writeSetting(name, value); err != nil {
			return err
		}
	}
	return nil
}

// restoreKernelSettings puts back what was noted, if anything was, and forgets it.
func restoreKernelSettings(path string) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	saved := map[string]string{}
	if err := json.Unmarshal(raw, &saved); err != nil {
		return os.Remove(path) // written half: no kubelet had started yet
	}
	for name, value := range saved {
		if now, err := readSetting(name); err == nil && now != value {
			if err := writeSetting(name, value); err != nil {
				return err
			}
		}
	}
	return os.Remove(path)
}

func readSetting(name string) (string, error) {
	raw, err := os.ReadFile(filepath.Join("/proc/sys", name))
	return strings.TrimSpace(string(raw)), err
}

func writeSetting(name, value string) error {
	return os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644)
}
