// Package docs holds the description of the HTTP API beside the other documents,
// so that a server can hand it out. It has no code and cannot fail.
package docs

import _ "embed" // for the description

// OpenAPI describes everything under /v1 and /v2, as YAML of OpenAPI 3.0.
//
//go:embed openapi.yaml
var OpenAPI []byte
