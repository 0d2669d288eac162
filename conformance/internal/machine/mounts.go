package machine

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Folders a machine may write to without the host seeing it: the host's content below, the machine's on top.
var overlaid = []string{"/etc", "/opt", "/var"}

// mountFilesystems gives the calling process, alone in a new mount namespace, the machine's view of the file system.
func mountFilesystems(spec Spec) error {
	steps := []func() error{
		// Nothing mounted from here on reaches the host.
		func() error { return mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return mountSys(spec.Dir) },
		func() error { return mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "") },
		func() error { return mountOverlays(spec.Dir) },
		func() error { return mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755") },
		func() error { return os.MkdirAll("/run/netns", 0o755) },
		func() error { return mountBinds(spec.Binds) },
		// Pods with mount propagation see what is mounted later, such as new pods' network namespaces.
		func() error { return mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// mountSys mounts a /sys that shows this network namespace's interfaces, and keeps the host's cgroups in it.
func mountSys(dir string) error {
	aside := filepath.Join(dir, "cgroup")
	if err := os.MkdirAll(aside, 0o755); err != nil {
		return err
	}
	if err := mount("/sys/fs/cgroup", aside, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	return mount(aside, "/sys/fs/cgroup", "", unix.MS_MOVE, "")
}

func mountOverlays(dir string) error {
	for _, folder := range overlaid {
		upper, work := filepath.Join(dir, "overlay", folder, "upper"), filepath.Join(dir, "overlay", folder, "work")
		for _, d := range []string{upper, work} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", folder, upper, work)
		if err := mount("overlay", folder, "overlay", 0, options); err != nil {
			return err
		}
	}
	return nil
}

func mountBinds(binds []Bind) error {
	for _, bind := range binds {
		for _, d := range []string{bind.From, bind.To} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		if err := mount(bind.From, bind.To, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

func mount(source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mount %s %q on %s: %w", fstype, source, target, err)
	}
	return nil
}
