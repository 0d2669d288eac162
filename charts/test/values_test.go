package test

import (
	"strings"
	"testing"
)

// What is wrong is refused, with a message that names the value and the way out.
func TestWrongValuesAreRefused(t *testing.T) {
	for _, it := range []struct{ chart, set, says string }{
		{fairway, "controller.replicas=3", "at '/controller': additional properties 'replicas' not allowed"},
		{fairway, "replicaCount=3", "additional properties 'replicaCount' not allowed"},
		{fairway, "controller.replicaCount=two", "at '/controller/replicaCount': got string, want integer"},
		{fairway, "controller.replicaCount=-1", "at '/controller/replicaCount': minimum: got -1, want 0"},
		{fairway, "logs.format=xml", "at '/logs/format': value must be one of 'text', 'json'"},
		{fairway, "image.pullPolicy=always", "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"},
		{fairway, "gatewayClasses.install=true", "at '/gatewayClasses/install': value must be one of 'auto', 'always', 'never'"},
		{fairway, "commonLabels.team=1", "at '/commonLabels/team': got number, want string"},
		{fairway, "rbac.gatewayNamespaces=shop", "at '/rbac/gatewayNamespaces': got string, want array"},
		{fairway, "waypoint.image.repository=", "at '/waypoint/image/repository': minLength: got 0, want 1"},
		{fairway, "waypoint.replicas=1", "at '/waypoint': additional properties 'replicas' not allowed"},
		{fairway, "trustDomain=spiffe://mesh", `trustDomain: "spiffe://mesh" is not a SPIFFE trust domain; write lower-case letters`},
		{fairway, "trustDomain=", `trustDomain: "" is not a SPIFFE trust domain`},
		{fairway, "logs.level=all the things", `logs.level: "all the things" is not a log filter; examples: info, debug`},
		{fairway, "controller.image.digest=0.1.0", `controller.image.digest: "0.1.0" is not a digest; write sha256: and 64 hexadecimal digits, or leave it empty and set controller.image.tag`},
		{fairway, "waypoint.image.repository=a/b:1", `waypoint.image.repository: "a/b:1" has a tag or digest; write it in waypoint.image.tag`},
		{fairway, "controller.serviceAccount.create=false", "controller.serviceAccount.name: with create=false it must name an account that is there; set it, or create=true"},
		{fairway, `controller.podLabels.app\.kubernetes\.io/name=x`, `controller.podLabels: "app.kubernetes.io/name" is what the Deployment finds its pods by; take it out`},
		{fairway, `commonLabels.helm\.sh/chart=x`, `commonLabels: "helm.sh/chart" is set by the chart; take it out`},
		{fairway, "gatewayClasses.gateway.parametersRef.name=x", "gatewayClasses.gateway.parametersRef: it needs a name and a namespace; set both, or leave it empty"},
		{crds, "gatewayAPI.channel=stable", "at '/gatewayAPI/channel': value must be one of 'standard', 'experimental'"},
		{crds, "gatewayApi.install=true", "additional properties 'gatewayApi' not allowed"},
		{crds, "gatewayAPI.install=yes", "at '/gatewayAPI/install': got string, want boolean"},
	} {
		t.Run(it.set, func(t *testing.T) {
			_, err := helm("template", "x", it.chart, "--set", it.set)
			if err == nil {
				t.Fatal("it was taken")
			}
			if !strings.Contains(err.Error(), it.says) {
				t.Errorf("it said\n%v\ninstead of\n%s", err, it.says)
			}
		})
	}
}

func TestEveryMistakeIsNamedAtOnce(t *testing.T) {
	_, err := helm("template", "x", fairway, "--set", "trustDomain=A", "--set", "controller.image.digest=b", "--set", "logs.level=c d")
	for _, value := range []string{"trustDomain: ", "controller.image.digest: ", "logs.level: "} {
		if err == nil || !strings.Contains(err.Error(), value) {
			t.Errorf("%s is missing in: %v", value, err)
		}
	}
}
