package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
)

// Kubectl is a command of the kubectl in folder `bin`, for the cluster of a kubeconfig.
func Kubectl(bin, kubeconfig string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	return cmd
}
