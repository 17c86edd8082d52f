//go:build tools

// Package tools keeps modules in go.mod of which the tests read files only: `go mod tidy` would drop them otherwise.
package tools

import _ "istio.io/api/networking/v1" // kubernetes/customresourcedefinitions.gen.yaml
