package main

import (
	"os"
	"path/filepath"
)

// Where the suite's Gateways live, and their proxies with them.
const infrastructure = "gateway-conformance-infra"

// autopsy keeps what one wants to see of a failed test, before the suite or `down` clears it away. It is the last resort
// of somebody who looks for a cause, so what cannot be had is noted and does not fail the run.
func (t *tool) autopsy(on target, dir string) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.report.Say("%v", err)
		return
	}
	const since = "--since=3m"
	for file, args := range map[string][]string{
		"pods.txt":       {"get", "pods", "-A", "-o", "wide"},
		"events.txt":     {"get", "events", "-A", "--sort-by=.lastTimestamp"},
		"gateways.yaml":  {"get", "gateway-api", "-A", "-o", "yaml"},
		"services.yaml":  {"get", "services,endpointslices", "-A", "-o", "yaml"},
		"controller.log": {"-n", systemNamespace, "logs", "-l", "app.kubernetes.io/name=fairway", "--prefix", "--tail=-1", since},
		"proxies.log": {"-n", infrastructure, "logs", "-l", "gateway.networking.k8s.io/gateway-name", "--prefix", "--tail=-1",
			"--max-log-requests=200", since},
	} {
		text, err := t.kubectlOutput(on, args...)
		if err != nil {
			text = err.Error() + "\n"
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.report.Say("%v", err)
		}
	}
}
