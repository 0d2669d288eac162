package behaviour

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

const (
	metricsPort = 15020
	adminPage   = "http://127.0.0.1:15000"
)

var _ = promised(TestObservability, everyChange,
	"Metrics of the controllers, plaintext by namespace, and the admin port of a tunnel say what docs/observability.md says.")

// What operators look at: metrics of the controllers, plaintext by namespace, and the admin port of a tunnel.
func TestObservability(t *testing.T) {
	s := begin(t, "observe")
	s.meshed()
	nodes := s.nodes()
	s.pod("server", nodes[0], "", "", "")
	server := s.ready("server")[0]
	s.captured("server")
	tunnel := s.tunnels()[nodes[0]]
	s.part("controllers", func(s *stage) {
		leads := 0.0
		for _, pod := range s.pods(systemNamespace, controllerLabel) {
			scraped := s.scrape(pod)
			leads += scraped.value(s, "fairway_leads")
			if scraped.value(s, `fairway_objects{kind="Pod"}`) < 1 || scraped.value(s, "fairway_generation") < 1 {
				s.Errorf("%s has compiled nothing:\n%s", pod.GetName(), scraped)
			}
			if pod.GetName() != s.leader() {
				continue
			}
			s.figure("tunnels connected", scraped.value(s, `fairway_proxies_connected{kind="node"}`), "", record.AtLeast(float64(len(nodes))))
			s.figure("answers acknowledged", scraped.value(s, `fairway_proxy_answers_total{outcome="acknowledged"}`), "", record.AtLeast(1))
			s.figure("answers rejected", scraped.value(s, `fairway_proxy_answers_total{outcome="rejected"}`), "", record.AtMost(0))
			s.figure("certificates issued", scraped.value(s, `fairway_certificates_total{outcome="issued"}`), "", nil)
			s.figure("status writes that failed", scraped.value(s, `fairway_status_writes_total{outcome="failed"}`), "", nil)
			s.figure("compiles", scraped.value(s, "fairway_compile_duration_seconds_count"), "", record.AtLeast(1))
		}
		s.figure("controllers that lead", leads, "", record.Between(1, 1))
	})
	s.part("proxies", func(s *stage) {
		s.servedGateway(1)
		served := 0.0
		for _, pod := range s.proxies("gw") {
			served += s.scrape(pod).sum(s, "fairway_requests_total", `class="2xx"`)
		}
		s.figure("requests served", served, "", record.AtLeast(1))
	})
	s.part("plaintext", func(s *stage) {
		count := func(kind string) float64 {
			namespace, kind := fmt.Sprintf("namespace=%q", s.namespace), fmt.Sprintf("kind=%q", kind)
			return s.scrape(tunnel).sum(s, "fairway_plaintext_connections_total", namespace, kind)
		}
		s.plain(podIP(server), 7001)
		s.figure("let in", count("let_in"), "", record.AtLeast(1))
		s.label("Pod", s.namespace, "server", "fairway.dev/mtls", "strict")
		s.until(joinLimit, "plaintext to be refused, and counted", func() (string, error) {
			why := s.plain(podIP(server), 7001)
			return missing(why != "" && count("refused") > 0, "refused: "+why), nil
		})
	})
	s.part("access log", func(s *stage) {
		// A line may be written a moment after its connection is counted.
		s.until(ample, "the lines of both connections", func() (string, error) {
			text, err := s.run(*kubectl, "-n", systemNamespace, "logs", tunnel.GetName(), "-c", "ztunnel", "--since=10m")
			if err != nil {
				return "", err
			}
			want := map[string]string{"completed": "", "refused": "this pod takes mTLS only"}
			for _, line := range strings.Split(text, "\n") {
				var entry struct {
					Target, Pod, Direction, Outcome, Detail string
					Server                                  string `json:"server_identity"`
					Connection                              string `json:"connection_id"`
					Generation                              int
				}
				if json.Unmarshal([]byte(line), &entry) != nil || entry.Target != "fairway::access" || entry.Pod != s.namespace+"/server" {
					continue
				}
				if entry.Direction != "plaintext" || !strings.HasSuffix(entry.Server, "/ns/"+s.namespace+"/sa/default") || entry.Connection == "" || entry.Generation < 1 {
					s.Errorf("it does not say all: %s", line)
				}
				if reason, is := want[entry.Outcome]; is && entry.Detail == reason {
					delete(want, entry.Outcome)
				}
			}
			return missing(len(want) == 0, fmt.Sprintf("no lines of %v in\n%s", want, text)), nil
		})
	})
	s.part("a tunnel's admin port", func(s *stage) {
		admin := admin{s, s.process(tunnel, "fairway-ztunnel")}
		var config struct {
			Generation int
			Workloads  []struct{ Key string }
		}
		admin.read("/config", &config)
		known := false
		for _, it := range config.Workloads {
			known = known || it.Key == s.namespace+"/server"
		}
		if config.Generation < 1 || !known {
			s.Errorf("/config knows no %s/server: %+v", s.namespace, config)
		}
		var connections []struct{ Direction, Pod string }
		admin.read("/connections", &connections)
		var logging struct{ Level string }
		admin.read("/logging", &logging)
		before := logging.Level
		admin.ask(http.MethodPut, "/logging?level=debug")
		admin.read("/logging", &logging)
		if logging.Level != "debug" {
			s.Errorf("the level is %q", logging.Level)
		}
		admin.ask(http.MethodPut, "/logging?level="+before)
	})
}

// scraped is what a program shows Prometheus.
type scraped string

func (s *stage) scrape(pod *scene.Object) scraped {
	s.Helper()
	response, err := http.Get("http://" + port(podIP(pod), metricsPort) + "/metrics")
	s.must(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	s.must(err)
	return scraped(text)
}

// sum adds up the series of a metric that have all of these labels; 0 if there is none yet.
func (t scraped) sum(s *stage, name string, labels ...string) float64 {
	s.Helper()
	sum := 0.0
	for _, line := range strings.Split(string(t), "\n") {
		rest, is := strings.CutPrefix(line, name+"{")
		if !is {
			continue
		}
		end := strings.LastIndex(rest, "} ")
		if end < 0 {
			s.Fatalf("no sample: %s", line)
		}
		// With a comma on either side, so that no label is taken for the end of another one.
		own := "," + rest[:end] + ","
		has := true
		for _, label := range labels {
			has = has && strings.Contains(own, ","+label+",")
		}
		if !has {
			continue
		}
		value, err := strconv.ParseFloat(rest[end+2:], 64)
		s.must(err)
		sum += value
	}
	return sum
}

func (t scraped) value(s *stage, name string) float64 {
	s.Helper()
	for _, line := range strings.Split(string(t), "\n") {
		if number, is := strings.CutPrefix(line, name+" "); is {
			value, err := strconv.ParseFloat(number, 64)
			s.must(err)
			return value
		}
	}
	s.Fatalf("there is no %s in\n%s", name, t)
	return 0
}

// admin is the admin port of a program, which only its own pod reaches.
type admin struct {
	*stage
	process scene.Process
}

func (a admin) ask(method, path string) []byte {
	a.Helper()
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return a.process.Dial(ctx, network, address)
		},
	}}
	request, err := http.NewRequestWithContext(a.ctx, method, adminPage+path, nil)
	a.must(err)
	response, err := client.Do(request)
	a.must(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	a.must(err)
	if response.StatusCode != http.StatusOK {
		a.Fatalf("%s %s: %s: %s", method, path, response.Status, text)
	}
	return text
}

func (a admin) read(path string, into any) {
	a.Helper()
	text := a.ask(http.MethodGet, path)
	if err := json.Unmarshal(text, into); err != nil {
		a.Fatalf("%s: %v in\n%s", path, err, text)
	}
}
