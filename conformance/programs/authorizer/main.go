// Authorizer answers envoy.service.auth.v3.Authorization/Check on port 9191 as a policy of OPA decides: the first argument is a file of Rego whose
// rule `data.authorization.decision` is an object with some of
//
//	allowed (boolean)      whether the request goes on
//	headers (object)       what the backend gets, in the place of what the client said; refused: what the client gets
//	remove ([string])      headers that the backend does not get
//	response (object)      what the client gets beside the backend's answer
//	status (number)        with which it is refused; without one 403
//	body (string)          with which it is refused
//
// Its input is the question, as JSON of the protocol: `input.attributes.request.http.path`. The module proxy did not give out OPA's own server for
// Envoy when this was written; the engine, the language and the protocol are the same here.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	envoy "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/open-policy-agent/opa/v1/rego"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
)

const address = ":9191"

// decision of a policy.
type decision struct {
	Allowed  bool              `json:"allowed"`
	Headers  map[string]string `json:"headers"`
	Remove   []string          `json:"remove"`
	Response map[string]string `json:"response"`
	Status   int32             `json:"status"`
	Body     string            `json:"body"`
}

func main() {
	if err := serve(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func serve(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: authorizer POLICY.rego")
	}
	policy, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	query, err := rego.New(rego.Query("data.authorization.decision"), rego.Module(args[0], string(policy))).PrepareForEval(context.Background())
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	auth.RegisterAuthorizationServer(server, &authorizer{query: query})
	return server.Serve(listener)
}

type authorizer struct {
	auth.UnimplementedAuthorizationServer
	query rego.PreparedEvalQuery
}

// Check is asked about each request.
func (a *authorizer) Check(ctx context.Context, request *auth.CheckRequest) (*auth.CheckResponse, error) {
	decided, err := a.decide(ctx, request)
	if err != nil {
		return nil, err
	}
	if !decided.Allowed {
		denied := &auth.DeniedHttpResponse{Headers: headers(decided.Headers), Body: decided.Body}
		if decided.Status != 0 {
			denied.Status = &envoy.HttpStatus{Code: envoy.StatusCode(decided.Status)}
		}
		return &auth.CheckResponse{
			Status:       &status.Status{Code: int32(codes.PermissionDenied)},
			HttpResponse: &auth.CheckResponse_DeniedResponse{DeniedResponse: denied},
		}, nil
	}
	return &auth.CheckResponse{
		Status: &status.Status{Code: int32(codes.OK)},
		HttpResponse: &auth.CheckResponse_OkResponse{OkResponse: &auth.OkHttpResponse{
			Headers: headers(decided.Headers), HeadersToRemove: decided.Remove, ResponseHeadersToAdd: headers(decided.Response),
		}},
	}, nil
}

func (a *authorizer) decide(ctx context.Context, request *auth.CheckRequest) (decided decision, err error) {
	raw, err := protojson.Marshal(request)
	if err != nil {
		return decided, err
	}
	var input any
	if err := json.Unmarshal(raw, &input); err != nil {
		return decided, err
	}
	results, err := a.query.Eval(ctx, rego.EvalInput(input))
	if err != nil {
		return decided, err
	}
	if len(results) == 0 {
		return decided, fmt.Errorf("the policy decides nothing about %s", raw)
	}
	value, err := json.Marshal(results[0].Expressions[0].Value)
	if err != nil {
		return decided, err
	}
	return decided, json.Unmarshal(value, &decided)
}

func headers(all map[string]string) (options []*core.HeaderValueOption) {
	for name, value := range all {
		options = append(options, &core.HeaderValueOption{Header: &core.HeaderValue{Key: name, Value: value}})
	}
	return options
}
