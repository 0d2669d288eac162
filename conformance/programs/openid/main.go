// Openid is an OpenID provider on port 9998: the example server of github.com/zitadel/oidc, with an issuer, a client and a user of our own. Its
// arguments are the issuer and where the client `web` (secret: `secret`) may have browsers sent. The user is `alice`, the password `verysecure`.
package main

import (
	"errors"
	"log"
	"log/slog"
	"net/http"
	"os"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

// users has one.
type users struct{}

var alice = &storage.User{
	ID: "alice", Username: "alice", Password: "verysecure", FirstName: "Alice", LastName: "Example", Email: "alice@shop.example", EmailVerified: true,
}

func (users) GetUserByID(id string) *storage.User {
	if id == alice.ID {
		return alice
	}
	return nil
}

func (users) GetUserByUsername(name string) *storage.User { return users{}.GetUserByID(name) }

func (users) ExampleClientID() string { return storage.ServiceUserID }

func main() {
	if err := serve(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func serve(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: openid ISSUER REDIRECT-URL")
	}
	storage.RegisterClients(storage.WebClient("web", "secret", args[1]))
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	return http.ListenAndServe(":9998", exampleop.SetupServer(args[0], storage.NewStorage(users{}), logger, false))
}
