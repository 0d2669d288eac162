package test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/google/cel-go/cel"
	"sigs.k8s.io/yaml"
)

// A rule of a schema, and the values that it judges.
type crdRule struct {
	Rule    string `json:"rule"`
	Message string `json:"message"`
}

// The parts of a schema that lead to rules.
type crdSchema struct {
	Properties map[string]*crdSchema `json:"properties"`
	Items      *crdSchema            `json:"items"`
	Rules      []crdRule             `json:"x-kubernetes-validations"`
}

// judge collects what the rules of a schema say to a value. What is null is absent: the API server drops it where a field is nullable.
func (s *crdSchema) judge(t *testing.T, env *cel.Env, value any, said map[string]bool) {
	t.Helper()
	for _, rule := range s.Rules {
		ast, issues := env.Compile(rule.Rule)
		if issues.Err() != nil {
			t.Fatalf("%s: %v", rule.Rule, issues.Err())
		}
		program, err := env.Program(ast)
		if err != nil {
			t.Fatalf("%s: %v", rule.Rule, err)
		}
		holds, _, err := program.Eval(map[string]any{"self": value})
		if err != nil || holds.Value() != true {
			said[rule.Message] = true
		}
	}
	switch it := value.(type) {
	case map[string]any:
		for name, property := range s.Properties {
			if inner, there := it[name]; there && inner != nil {
				property.judge(t, env, inner, said)
			}
		}
	case []any:
		for _, inner := range it {
			s.Items.judge(t, env, inner, said)
		}
	}
}

// messages are those of all rules of a schema.
func (s *crdSchema) messages() []string {
	var all []string
	for _, rule := range s.Rules {
		all = append(all, rule.Message)
	}
	for _, property := range s.Properties {
		all = append(all, property.messages()...)
	}
	if s.Items != nil {
		all = append(all, s.Items.messages()...)
	}
	return all
}

// The rules of our kinds say to each spec of crd-rules.yaml what the file has. The compiler is held to the same file.
func TestTheRulesOfOurKinds(t *testing.T) {
	text, err := os.ReadFile("crd-rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string][]struct {
		Spec    any      `json:"spec"`
		Refused []string `json:"refused"`
	}
	if err := yaml.UnmarshalStrict(text, &cases); err != nil {
		t.Fatal(err)
	}
	env, err := cel.NewEnv(cel.Variable("self", cel.DynType))
	if err != nil {
		t.Fatal(err)
	}
	for kind, file := range map[string]string{
		"GatewayParameters": "gatewayparameters",
		"AccessPolicy":      "accesspolicies",
		"ClientPolicy":      "clientpolicies",
		"RateLimitPolicy":   "ratelimitpolicies",
	} {
		text, err := os.ReadFile(crds + "/files/fairway.dev_" + file + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Versions []struct {
					Schema struct {
						V3 crdSchema `json:"openAPIV3Schema"`
					} `json:"schema"`
				} `json:"versions"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal(text, &crd); err != nil {
			t.Fatal(err)
		}
		schema := crd.Spec.Versions[0].Schema.V3.Properties["spec"]
		unseen := map[string]bool{}
		for _, message := range schema.messages() {
			unseen[message] = true
		}
		if len(cases[kind]) == 0 || len(unseen) == 0 {
			t.Errorf("%s has %d specs and %d rules", kind, len(cases[kind]), len(unseen))
		}
		for _, it := range cases[kind] {
			said := map[string]bool{}
			schema.judge(t, env, it.Spec, said)
			var refused []string
			for message := range said {
				refused = append(refused, message)
				delete(unseen, message)
			}
			slices.Sort(refused)
			slices.Sort(it.Refused)
			if !slices.Equal(refused, it.Refused) {
				spec, _ := json.Marshal(it.Spec)
				t.Errorf("%s %s: the rules say %q, the file %q", kind, spec, refused, it.Refused)
			}
		}
		for message := range unseen {
			t.Errorf("%s: no spec breaks the rule %q", kind, message)
		}
	}
}
