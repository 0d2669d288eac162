package test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const gatewayAPI = crds + "/charts/gateway-api/files"

func TestOursAloneIsTheDefault(t *testing.T) {
	for _, object := range objects(t, render(t, crds)) {
		if !strings.HasSuffix(nameOf(object), ".fairway.dev") {
			t.Errorf("%s is there", nameOf(object))
		}
	}
}

// The files of the Gateway API are those of the module in go.mod, to the letter.
func TestTheGatewayAPIIsUpstreams(t *testing.T) {
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		t.Fatal(describe(err))
	}
	for _, channel := range []string{"standard", "experimental"} {
		upstream, _ := filepath.Glob(filepath.Join(strings.TrimSpace(string(module)), "config/crd", channel, "gateway*.yaml"))
		ours, _ := filepath.Glob(filepath.Join(gatewayAPI, channel, "*.yaml"))
		if len(upstream) == 0 || len(upstream) != len(ours) && !*update {
			t.Fatalf("%s: upstream has %d files, the chart has %d", channel, len(upstream), len(ours))
		}
		for _, file := range upstream {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, filepath.Join(gatewayAPI, channel, filepath.Base(file)), string(text))
		}
	}
}

// Rendering adds labels and "keep" to kinds, theirs and ours, and changes nothing else.
func TestKindsAreRenderedUnchanged(t *testing.T) {
	for _, channel := range []string{"standard", "experimental"} {
		t.Run(channel, func(t *testing.T) {
			upstream := map[string]map[string]any{}
			files, _ := filepath.Glob(filepath.Join(gatewayAPI, channel, "*.yaml"))
			ours, _ := filepath.Glob(crds + "/files/fairway.dev_*.yaml")
			for _, file := range append(files, ours...) {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for _, object := range objects(t, string(text)) {
					upstream[nameOf(object)] = object
				}
			}
			for _, object := range objects(t, render(t, crds, "--set", "gatewayAPI.install=true", "--set", "gatewayAPI.channel="+channel)) {
				metadata := object["metadata"].(map[string]any)
				annotations := metadata["annotations"].(map[string]any)
				if annotations["helm.sh/resource-policy"] != "keep" {
					t.Errorf("%s would go with the release", nameOf(object))
				}
				want, ok := upstream[nameOf(object)]
				if !ok {
					t.Errorf("%s is in no file", nameOf(object))
					continue
				}
				delete(upstream, nameOf(object))
				delete(annotations, "helm.sh/resource-policy")
				delete(metadata, "labels")
				delete(want["metadata"].(map[string]any), "labels")
				if len(annotations) == 0 {
					delete(metadata, "annotations")
				}
				if !reflect.DeepEqual(object, want) {
					t.Errorf("%s is not as its file has it", nameOf(object))
				}
			}
			for name := range upstream {
				t.Errorf("%s is not rendered", name)
			}
		})
	}
}

func TestThePolicyCanBeLeftOut(t *testing.T) {
	for _, object := range objects(t, render(t, crds, "--set", "gatewayAPI.install=true", "--set", "gatewayAPI.safeUpgrades=false")) {
		if object["kind"] != "CustomResourceDefinition" {
			t.Errorf("%s is there", nameOf(object))
		}
	}
}

// Helm keeps a release in one Secret, compressed; the API server takes 1 MiB. The limit here leaves half of it to later versions.
func TestTheReleaseFitsIntoItsSecret(t *testing.T) {
	const limit = 1 << 19
	out, err := helm("install", "fairway-crds", crds, "--dry-run=client", "--output", "json", "--set", "gatewayAPI.install=true", "--set", "gatewayAPI.channel=experimental")
	if err != nil {
		t.Fatal(err)
	}
	var release map[string]any
	if err := json.Unmarshal([]byte(out), &release); err != nil {
		t.Fatal(err)
	}
	if release["chart"] == nil || release["manifest"] == nil {
		t.Fatal("that is not all of a release")
	}
	var packed bytes.Buffer
	writer, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err := json.NewEncoder(writer).Encode(release); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	size := base64.StdEncoding.EncodedLen(packed.Len())
	t.Logf("%d KiB of 1024", size>>10)
	if size > limit {
		t.Errorf("the release takes %d bytes, more than %d", size, limit)
	}
}

// objects are the YAML documents of a text.
func objects(t *testing.T, text string) []map[string]any {
	t.Helper()
	var found []map[string]any
	for _, document := range strings.Split("\n"+text, "\n---") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if len(object) > 0 {
			found = append(found, object)
		}
	}
	return found
}

func nameOf(object map[string]any) string {
	return object["kind"].(string) + " " + object["metadata"].(map[string]any)["name"].(string)
}
