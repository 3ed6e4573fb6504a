package openapi_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"containertriggers/shared/api/openapi"
	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/domain/run"
	"containertriggers/shared/domain/trigger"
)

// load returns the document, read from its JSON, which is valid.
func load(t *testing.T) *openapi3.T {
	t.Helper()
	text, err := openapi.JSON()
	if err != nil {
		t.Fatal(err)
	}
	document, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := document.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
	return document
}

func TestDocument_IsValidAndHasTheRoutesOfTheTemplate(t *testing.T) {
	t.Parallel()
	var documented, deployed []string
	for path, item := range load(t).Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	template, err := os.ReadFile("../../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range regexp.MustCompile(`(?m)^ +Method: (\w+)\n +Path: (\S+)$`).FindAllStringSubmatch(string(template), -1) {
		deployed = append(deployed, route[1]+" "+route[2])
	}
	slices.Sort(documented)
	slices.Sort(deployed)
	if !slices.Equal(documented, deployed) {
		t.Errorf("the document has the routes\n%s\nthe template has\n%s", strings.Join(documented, "\n"), strings.Join(deployed, "\n"))
	}
}

// The document repeats lists that the code has.
func TestDocument_HasTheWordsOfTheCode(t *testing.T) {
	t.Parallel()
	schemas := load(t).Components.Schemas
	for name, want := range map[string][]string{
		"RunState":  texts(run.States()),
		"RunOrigin": texts(run.Origins()),
		"RunReason": append([]string{""}, texts(run.Reasons())...),
		"Source":    texts([]trigger.Source{trigger.SourceCron, trigger.SourceSQS, trigger.SourceNATS}),
	} {
		if got := enum(schemas[name].Value); !slices.Equal(got, want) {
			t.Errorf("%s: the document has %q, the code %q", name, got, want)
		}
	}
	types := enum(schemas["Error"].Value.Properties["type"].Value)
	for _, err := range []*apierr.Error{
		apierr.NotFound("", ""), apierr.TransientState("", "", ""), apierr.TooManyRequests(1), apierr.PermissionsDenied("", ""),
		apierr.InvalidArgument("", "", ""), apierr.DeniedAuthentication(apierr.DeniedInvalid), apierr.MethodNotAllowed("GET"), apierr.From(os.ErrClosed),
	} {
		if !slices.Contains(types, string(err.Type)) {
			t.Errorf("the document does not have the error %s", err.Type)
		}
	}
}

func texts[T ~string](list []T) (texts []string) {
	for _, one := range list {
		texts = append(texts, string(one))
	}
	return texts
}

func enum(schema *openapi3.Schema) (texts []string) {
	for _, one := range schema.Enum {
		texts = append(texts, one.(string))
	}
	return texts
}
