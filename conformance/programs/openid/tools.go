//go:build tools

package main

import (
	_ "github.com/oauth2-proxy/oauth2-proxy/v7"
)
