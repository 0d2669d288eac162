package image

import "path/filepath"

// Pause is the image of every pod's sandbox.
func Pause(tag, bin string) Image {
	return program(tag, filepath.Join(bin, "pause"), "/pause")
}

// CoreDNS answers the cluster's names.
func CoreDNS(tag, bin string) Image {
	return program(tag, filepath.Join(bin, "coredns"), "/coredns")
}

// EchoBasic is the backend of the suite's gateway tests. The suite names two versions of it; see the README for why
// both are v0.1.0 here.
func EchoBasic(bin string) Image {
	const name = "registry.k8s.io/gateway-api/conformance/echo-basic"
	img := program(name+":v0.1.0", filepath.Join(bin, "echo-basic"), "/echo-basic")
	img.Tags = append(img.Tags, name+":v0.2.0")
	img.User = nonroot
	return img
}

// Backend is the server behind the routes of the behaviour tests.
func Backend(file string) Image {
	img := program("fairway.test/backend:v1", file, "/backend")
	img.User = nonroot
	return img
}

// Authorizer is an authorization service by gRPC, with OPA's engine.
func Authorizer(bin string) Image {
	img := program("fairway.test/authorizer:v1", filepath.Join(bin, "authorizer"), "/authorizer")
	img.User = nonroot
	return img
}

// OAuth2Proxy is the program of that name as it is published.
func OAuth2Proxy(bin string) Image {
	img := program("fairway.test/oauth2-proxy:v1", filepath.Join(bin, "oauth2-proxy"), "/bin/oauth2-proxy")
	img.User = nonroot
	return img
}

// OpenID is a provider of identities that OAuth2Proxy trusts.
func OpenID(bin string) Image {
	img := program("fairway.test/openid:v1", filepath.Join(bin, "openid"), "/openid")
	img.User = nonroot
	return img
}

// nonroot is the user of the usual base images without root.
const nonroot = "65532:65532"

func program(tag, from, to string) Image {
	return Image{Tags: []string{tag}, Files: []File{{From: from, Path: to}}, Entrypoint: []string{to}}
}

// EchoAdvanced is the workload of the suite's mesh tests: Istio's echo server and its client, at the places upstream's
// image has them, with the key pair the server is told to use.
func EchoAdvanced(bin, certificate, key string) Image {
	return Image{
		Tags: []string{"registry.k8s.io/gateway-api/conformance/echo-advanced:v0.1.0"},
		Files: []File{
			{From: filepath.Join(bin, "server"), Path: "/usr/local/bin/server"},
			{From: filepath.Join(bin, "client"), Path: "/usr/local/bin/client"},
			{Content: certificate, Path: "/cert.crt", Mode: 0o644},
			{Content: key, Path: "/cert.key", Mode: 0o644},
		},
		Entrypoint: []string{"/usr/local/bin/server"},
	}
}
