// Package suite runs the official conformance suite and says what came of it.
package suite

import "strings"

// AllProfiles of the suite, in the order tables show them.
var AllProfiles = []string{
	"GATEWAY-HTTP", "GATEWAY-GRPC", "GATEWAY-TLS", "GATEWAY-TCP", "GATEWAY-UDP", "MESH-HTTP", "MESH-GRPC",
}

// Uncounted are the tests that no profile counts, because they need features of two: the report never shows them.
var Uncounted = []string{
	"GRPCRouteNamedRule", "GRPCRouteRequestHeaderModifier", "HTTPRouteDisallowedKind",
	"MeshFrontend", "MeshFrontendHostname", "MeshPorts", "MeshConsumerRoute",
	"MeshHTTPRoute303Redirect", "MeshHTTPRoute307Redirect", "MeshHTTPRoute308Redirect",
}

// Options of one run. There is none to skip tests.
type Options struct {
	Kubeconfig   string
	GatewayClass string
	// MeshName of the XMesh whose features are claimed.
	MeshName string
	Profiles []string
	// RunTest is the one test to run, if not all.
	RunTest string
	// Addresses for static-address tests.
	Usable, Unusable string
	NamespaceLabels  string
	// Keep leaves the suite's own namespaces, for a quick next run.
	Keep    bool
	Version string
	// Report is the file to write.
	Report string
	// More flags of the suite, as they are.
	More []string
}

// Arguments of the compiled suite. Features are inferred from the status of the GatewayClass (and XMesh): none is
// given here, and none exempted.
func (o Options) Arguments() []string {
	args := []string{
		"-test.run=^TestConformance$", "-test.timeout=0", "-test.v=test2json",
		// Of the tests that upstream lets run beside others, as many as there are: they wait more than they work.
		"-test.parallel=6",
		"--kubeconfig=" + o.Kubeconfig,
		"--gateway-class=" + o.GatewayClass,
		"--conformance-profiles=" + strings.Join(o.Profiles, ","),
		"--organization=fairway-dev", "--project=fairway",
		"--url=https://github.com/fairway-mesh/fairway",
		"--contact=https://github.com/fairway-mesh/fairway/issues",
		"--version=" + o.Version,
		"--report-output=" + o.Report,
		// Not a timeout of what is tested: how long the suite waits for its namespaces to be gone.
		"--timeout-config-overrides=DeleteTimeout:180",
	}
	optional := []struct{ flag, value string }{
		{"--mesh-name=", o.MeshName},
		{"--run-test=", o.RunTest},
		{"--usable-address=", o.Usable},
		{"--unusable-address=", o.Unusable},
		{"--namespace-labels=", o.NamespaceLabels},
	}
	for _, option := range optional {
		if option.value != "" {
			args = append(args, option.flag+option.value)
		}
	}
	if o.Keep {
		args = append(args, "--cleanup-base-resources=false")
	}
	return append(args, o.More...)
}
