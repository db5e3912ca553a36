package stripeapi_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/waybill-dev/waybill/docs"
	"github.com/waybill-dev/waybill/internal/stripeapi"
)

var argument = regexp.MustCompile(`\{\w+\}`)

// What is served and what docs/openapi.yaml describes are the same, apart from
// the paths that stand for all others.
func TestEveryRouteIsDescribed(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(docs.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	var described []string
	for path, item := range doc.Paths.Map() {
		if item.Extensions["x-waybill-otherwise"] != nil {
			continue
		}
		for method := range item.Operations() {
			described = append(described, method+" "+argument.ReplaceAllString(path, ":id"))
		}
	}
	served := stripeapi.Routes()
	for _, r := range served {
		if !slices.Contains(described, r) {
			t.Errorf("docs/openapi.yaml does not describe %s", r)
		}
	}
	for _, r := range described {
		if !slices.Contains(served, r) {
			t.Errorf("docs/openapi.yaml describes %s, which is not served", r)
		}
	}
}
