package test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	rbacv1 "k8s.io/api/rbac/v1"
)

// docs/values.md is written from the values and their schema: there is no value that one of the three does not know.
func TestEveryValueIsDescribed(t *testing.T) {
	var page strings.Builder
	page.WriteString("# Values of the charts\n\nWritten by `make charts ARGS=-update` from the charts themselves.\n")
	for _, chart := range []string{"fairway", "fairway-crds"} {
		fmt.Fprintf(&page, "\n## `%s`\n\n| value | default | |\n|---|---|---|\n", chart)
		for _, value := range describedValues(t, "../"+chart) {
			shown := ""
			if value.initial != "" {
				shown = "`" + value.initial + "`"
			}
			fmt.Fprintf(&page, "| `%s` | %s | %s |\n", value.path, shown, value.says)
		}
	}
	compare(t, "../../docs/values.md", page.String())
}

type described struct{ path, initial, says string }

func describedValues(t *testing.T, chart string) []described {
	t.Helper()
	var values yaml.Node
	parse(t, chart+"/values.yaml", yaml.Unmarshal, &values)
	var root schema
	parse(t, chart+"/values.schema.json", json.Unmarshal, &root)
	var found []described
	var walk func(path string, node *yaml.Node, at schema)
	walk = func(path string, node *yaml.Node, at schema) {
		known := []string{"global"}
		for i := 0; i < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			known = append(known, key.Value)
			name := strings.TrimPrefix(path+"."+key.Value, ".")
			property, ok := at.Properties[key.Value]
			if !ok {
				t.Errorf("%s: %s is not in the schema", chart, name)
				continue
			}
			property = property.resolve(root)
			says := comment(key.HeadComment)
			if len(property.Properties) > 0 && value.Kind == yaml.MappingNode && len(value.Content) > 0 {
				if says != "" {
					found = append(found, described{name, "", says})
				}
				walk(name, value, property)
				continue
			}
			if says == "" {
				says = property.Description
			}
			if says == "" {
				t.Errorf("%s: %s is described nowhere", chart, name)
			}
			found = append(found, described{name, initial(t, value), says})
		}
		for name := range at.Properties {
			if !slices.Contains(known, name) {
				t.Errorf("%s: %s.%s has no default", chart, path, name)
			}
		}
	}
	walk("", values.Content[0], root)
	return found
}

// schema is what is needed here of JSON schema.
type schema struct {
	Description string            `json:"description"`
	Ref         string            `json:"$ref"`
	Properties  map[string]schema `json:"properties"`
	Definitions map[string]schema `json:"definitions"`
}

func (s schema) resolve(root schema) schema {
	if s.Ref == "" {
		return s
	}
	return root.Definitions[strings.TrimPrefix(s.Ref, "#/definitions/")]
}

func parse[T any](t *testing.T, file string, read func([]byte, any) error, into *T) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = read(text, into)
	}
	if err != nil {
		t.Fatal(file, err)
	}
}

// comment is what a value's comment says, without the headings of sections.
func comment(text string) string {
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(strings.TrimLeft(line, "#"))
		if line != "" && !strings.HasPrefix(line, "-- ") {
			lines = append(lines, line)
		}
	}
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(strings.Join(lines, " "))
}

func initial(t *testing.T, value *yaml.Node) string {
	t.Helper()
	var read any
	if err := value.Decode(&read); err != nil {
		t.Fatal(err)
	}
	if read == "" {
		return ""
	}
	text, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Trim(string(text), `"`)
}

// docs/rbac.md has a row for every rule, and no row for a rule that is not there.
func TestEveryRightHasItsReason(t *testing.T) {
	page, err := os.ReadFile("../../docs/rbac.md")
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]bool{}
	for _, rule := range rules(t, "golden/default.values.yaml") {
		wanted[row(rule)] = true
	}
	for _, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		shown := strings.TrimPrefix(cells[0], "| ")
		if !wanted[shown] {
			t.Errorf("docs/rbac.md has a rule that is not rendered: %s", shown)
		}
		if len(cells) != 3 || len(cells[1]) < 5 || len(cells[2]) < 5 {
			t.Errorf("docs/rbac.md gives no reason for %s", shown)
		}
		delete(wanted, shown)
	}
	for rule := range wanted {
		t.Errorf("docs/rbac.md lacks %s", rule)
	}
}

func row(rule rbacv1.PolicyRule) string {
	group := rule.APIGroups[0]
	if group == "" {
		group = "core"
	}
	text := fmt.Sprintf("`%s` %s: `%s`", strings.Join(rule.Verbs, ", "), group, strings.Join(rule.Resources, ", "))
	if len(rule.ResourceNames) > 0 {
		text += fmt.Sprintf(" named `%s`", strings.Join(rule.ResourceNames, ", "))
	}
	return text
}
