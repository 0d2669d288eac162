package behaviour

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	oauth2ProxyImage = "fairway.test/oauth2-proxy:v1"
	openIDImage      = "fairway.test/openid:v1"
)

var _ = promised(TestRealOAuth2Proxy, beforeRelease,
	"Sign-in by OpenID Connect as docs/external-auth.md has it, with the real oauth2-proxy: a browser is sent to the provider and back to its page, the backend is told who it is, and nobody passes without.")

// The part `Sign-in with OpenID Connect` of docs/external-auth.md, as it stands there: with oauth2-proxy and a provider of others' making.
func TestRealOAuth2Proxy(t *testing.T) {
	s := beginBeside(t, "signin")
	s.meshed()
	nodes := s.nodes()
	s.pod("shop", nodes[0], "", "", "")
	provider := fmt.Sprintf("openid.%s.svc.cluster.local:9998", s.namespace)
	issuer := "http://" + provider + "/"
	s.apply(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: openid, namespace: NAMESPACE, labels: {app: openid}}
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  containers:
  - name: openid
    image: %s
    imagePullPolicy: IfNotPresent
    args: [%q, "http://shop.example.com/oauth2/callback"]
    readinessProbe: {tcpSocket: {port: 9998}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: openid, namespace: NAMESPACE}
spec: {selector: {app: openid}, ports: [{name: http, port: 9998}]}
`, openIDImage, issuer))
	s.ready("openid", "shop")
	s.captured("openid", "shop")
	// oauth2-proxy ends where it does not find its provider.
	s.answers(s.serviceAddress("openid", 9998))
	s.apply(s.documented("external-auth.md", "Sign-in with OpenID Connect: oauth2-proxy",
		"namespace: shop", "namespace: "+s.namespace,
		"quay.io/oauth2-proxy/oauth2-proxy:v7.15.6", oauth2ProxyImage,
		"https://login.example.com/", issuer,
		"https://shop.example.com", "http://shop.example.com"))
	gateway := s.gateway("public", 1)
	s.rolledOut(s.namespace, "oauth2-proxy")
	const page = "http://shop.example.com/charges?id=7&header=x-auth-request-user&header=x-auth-request-email"
	nobody := s.browser(map[string]string{"shop.example.com:80": gateway, provider: s.serviceAddress("openid", 9998)})
	somebody := s.browser(nobody.hosts)

	s.part("who has not signed in is sent to the provider", func(s *stage) {
		s.until(ample, "the login to be asked for", func() (string, error) {
			answer, _ := nobody.once(s, http.MethodGet, page, nil, nil)
			is := answer.StatusCode == http.StatusFound && strings.HasPrefix(answer.Header.Get("Location"), issuer)
			return missing(is, fmt.Sprintf("%s, to %q", answer.Status, answer.Header.Get("Location"))), nil
		})
		// What oauth2-proxy itself would answer to everybody is not let through either.
		for _, path := range []string{"/", "/ping", "/ready", "/robots.txt", "/oauth2/../charges", "/signed-in", "//oauth2/auth", "/%6fauth2/sign_in", "/charges/../ping"} {
			answer, body := nobody.once(s, http.MethodGet, "http://shop.example.com"+path, nil, nil)
			if answer.Header.Get("pod") != "" {
				s.Errorf("%s is let through: %s %s", path, answer.Status, body)
			}
		}
		answer, _ := nobody.once(s, http.MethodGet, page, http.Header{"Accept": {"application/json"}}, nil)
		if answer.StatusCode != http.StatusUnauthorized {
			s.Errorf("a program gets %s, want 401", answer.Status)
		}
		forged := http.Header{"X-Auth-Request-User": {"alice"}, "Cookie": {"_oauth2_proxy=forged"}}
		if answer, _ := nobody.once(s, http.MethodGet, page, forged, nil); answer.StatusCode != http.StatusFound {
			s.Errorf("with a cookie that is none: %s, want 302", answer.Status)
		}
	})
	s.part("who signs in gets the page", func(s *stage) {
		somebody.cookies = map[string]string{}
		login, text := somebody.get(s, page)
		form := regexp.MustCompile(`name="id" value="([^"]+)"`).FindStringSubmatch(text)
		if login.StatusCode != http.StatusOK || form == nil {
			s.Fatalf("%s: no form for the login: %s\n%s", login.Request.URL, login.Status, text)
		}
		there := login.Request.URL.ResolveReference(&url.URL{Path: "/login/username"})
		answer, _ := somebody.follow(s, http.MethodPost, there.String(), url.Values{"id": {form[1]}, "username": {"alice"}, "password": {"verysecure"}})
		s.signedIn(answer, page)
	})
	s.part("and stays signed in, whatever it says of itself", func(s *stage) {
		for _, header := range []http.Header{nil, {"X-Auth-Request-User": {"mallory"}, "X-Auth-Request-Email": {"mallory@shop.example"}}} {
			answer, _ := somebody.once(s, http.MethodGet, page, header, nil)
			s.signedIn(answer, page)
			posted, _ := somebody.once(s, http.MethodPost, page, header, nil)
			s.signedIn(posted, page)
		}
		if answer, _ := nobody.once(s, http.MethodGet, page, nil, nil); answer.StatusCode != http.StatusFound {
			s.Errorf("somebody else: %s, want 302", answer.Status)
		}
	})
	s.part("without oauth2-proxy nobody is served", func(s *stage) {
		s.must(s.patch("Deployment", s.namespace, "oauth2-proxy", `{"spec":{"replicas":0}}`))
		s.until(ample, "the route to be closed", func() (string, error) {
			answer, _ := somebody.once(s, http.MethodGet, page, nil, nil)
			return missing(answer.StatusCode == http.StatusForbidden, answer.Status), nil
		})
		s.must(s.patch("Deployment", s.namespace, "oauth2-proxy", `{"spec":{"replicas":2}}`))
		s.rolledOut(s.namespace, "oauth2-proxy")
		s.until(ample, "the session to hold again", func() (string, error) {
			answer, _ := somebody.once(s, http.MethodGet, page, nil, nil)
			return missing(answer.StatusCode == http.StatusOK, answer.Status), nil
		})
	})
	s.part("who signs out is nobody", func(s *stage) {
		_, _ = somebody.once(s, http.MethodGet, "http://shop.example.com/oauth2/sign_out", nil, nil)
		if answer, _ := somebody.once(s, http.MethodGet, page, nil, nil); answer.StatusCode != http.StatusFound {
			s.Errorf("signed out: %s, want 302", answer.Status)
		}
	})
}

// signedIn wants that a page was served by the backend, which was told who asks.
func (s *stage) signedIn(answer *http.Response, page string) {
	s.Helper()
	heard := strings.Join(answer.Header.Values("heard"), ", ")
	if answer.StatusCode != http.StatusOK || answer.Header.Get("pod") != "shop" || answer.Request.URL.String() != page {
		s.Errorf("%s: %s by %q, want the page %s", answer.Request.URL, answer.Status, answer.Header.Get("pod"), page)
	}
	if heard != "x-auth-request-user: alice, x-auth-request-email: alice@shop.example" {
		s.Errorf("the backend was told %q", heard)
	}
}

// documented are the manifests of a part of a page in docs/, with other names in the place of some.
func (s *stage) documented(page, part string, names ...string) string {
	s.Helper()
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(*charts), "docs", page))
	s.must(err)
	_, text, found := strings.Cut(string(raw), "\n## "+part+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	_, text, fenced := strings.Cut(text, "\n```yaml\n")
	text, _, ended := strings.Cut(text, "\n```\n")
	if !found || !fenced || !ended {
		s.Fatalf("docs/%s has no manifests in a part %q", page, part)
	}
	for i := 0; i < len(names); i += 2 {
		if !strings.Contains(text, names[i]) {
			s.Fatalf("docs/%s does not name %q", page, names[i])
		}
	}
	return strings.NewReplacer(names...).Replace(text)
}

// browser follows redirects and keeps cookies, also those that are for TLS only.
type browser struct {
	client  *http.Client
	hosts   map[string]string
	cookies map[string]string
}

// browser that finds some hosts, `name:port`, at other addresses.
func (s *stage) browser(hosts map[string]string) *browser {
	dialer := &net.Dialer{}
	return &browser{hosts: hosts, cookies: map[string]string{}, client: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				if there, is := hosts[address]; is {
					address = there
				}
				return dialer.DialContext(ctx, network, address)
			},
		},
	}}
}

// once sends one request.
func (b *browser) once(s *stage, method, target string, header http.Header, form url.Values) (*http.Response, string) {
	s.Helper()
	request, err := http.NewRequestWithContext(s.ctx, method, target, strings.NewReader(form.Encode()))
	s.must(err)
	for name, values := range header {
		request.Header[name] = values
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	// Each host has cookies of its own.
	for key, value := range b.cookies {
		if host, name, _ := strings.Cut(key, " "); host == request.URL.Host {
			request.AddCookie(&http.Cookie{Name: name, Value: value})
		}
	}
	answer, err := b.client.Do(request)
	s.must(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	s.must(err)
	for _, cookie := range answer.Cookies() {
		key := request.URL.Host + " " + cookie.Name
		if b.cookies[key] = cookie.Value; cookie.Value == "" || cookie.MaxAge < 0 {
			delete(b.cookies, key)
		}
	}
	return answer, string(text)
}

// get asks for a page, wherever that leads.
func (b *browser) get(s *stage, target string) (*http.Response, string) {
	s.Helper()
	return b.follow(s, http.MethodGet, target, nil)
}

func (b *browser) follow(s *stage, method, target string, form url.Values) (*http.Response, string) {
	s.Helper()
	var way []string
	for range 10 {
		answer, text := b.once(s, method, target, nil, form)
		way = append(way, fmt.Sprintf("%s: %s", target, answer.Status))
		next, err := answer.Location()
		if err != nil {
			s.Logf("%s", strings.Join(way, "\n"))
			return answer, text
		}
		method, target, form = http.MethodGet, next.String(), nil
	}
	s.Fatalf("it never ends:\n%s", strings.Join(way, "\n"))
	return nil, ""
}
