package cluster

import (
	"os"

	"github.com/fairway-mesh/fairway/conformance/internal/machine"
	"github.com/fairway-mesh/fairway/conformance/internal/progress"
)

// Down ends everything and removes every trace but the logs. It works on a cluster that came up half, too.
func (l Layout) Down(report *progress.Report) error {
	return report.Step("cluster down", func() error {
		if _, err := machine.KillBelow(l.State()); err != nil {
			return err
		}
		if err := removeCgroups("fairway-" + l.Name + "-"); err != nil {
			return err
		}
		if err := os.RemoveAll(l.State()); err != nil {
			return err
		}
		others, err := machine.RunningBelow(l.clusters())
		if err != nil || len(others) > 0 {
			return err
		}
		return restoreKernelSettings(l.kernelSettings())
	})
}
