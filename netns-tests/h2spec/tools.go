//go:build tools

// The HTTP/2 conformance suite that h2_test.cc runs, pinned by go.sum.
package tools

import (
	_ "github.com/summerwind/h2spec/cmd/h2spec"
	_ "github.com/summerwind/h2spec/cmd/h2specd"
)
