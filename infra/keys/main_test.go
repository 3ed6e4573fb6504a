package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"containertriggers/infra/local/moto/mototest"
)

func TestKeys_AreCreatedListedAndRevoked(t *testing.T) {
	cfg, tableName := mototest.Config(t), mototest.Environment(t, "get-trigger")["KEYS_TABLE"]
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": *cfg.BaseEndpoint, "AWS_REGION": cfg.Region, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
	} {
		t.Setenv(name, value)
	}
	keys := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := run(t.Context(), args, tableName, &out)
		return out.String(), err
	}
	organization, project := uuid.NewString(), uuid.NewString()
	made, err := keys("create", "-organization", organization, "-project", project, "-permissions", "ContainersReadOnly", "-expires", "1h", "-description", "mine")
	if err != nil {
		t.Fatal(err)
	}
	form := regexp.MustCompile(`^export SCW_ACCESS_KEY=(SCW[A-Z0-9]{17})
export SCW_SECRET_KEY=([0-9a-f-]{36})
export SCW_DEFAULT_ORGANIZATION_ID=` + organization + `
export SCW_DEFAULT_PROJECT_ID=` + project + `
$`)
	parts := form.FindStringSubmatch(made)
	if parts == nil {
		t.Fatalf("got %s", made)
	}
	listed, err := keys("list")
	if err != nil || !strings.Contains(listed, parts[1]) || !strings.Contains(listed, "ContainersReadOnly") || strings.Contains(listed, parts[2]) {
		t.Errorf("got %s, %v", listed, err)
	}
	if _, err := keys("revoke", parts[1]); err != nil {
		t.Error(err)
	}
	if listed, err := keys("list"); err != nil || strings.Contains(listed, parts[1]) {
		t.Errorf("got %s, %v", listed, err)
	}
	for _, wrong := range [][]string{
		{}, {"make"}, {"revoke"}, {"revoke", parts[1]}, {"create"}, {"create", "-organization", "x"}, {"create", "-organization", organization, "more"},
		{"create", "-organization", organization, "-permissions", "All"}, {"create", "-organization", organization, "-expires", "-1h"},
		{"create", "-organization", organization, "-project", project, "-default-project", organization},
	} {
		if out, err := keys(wrong...); err == nil || out != "" {
			t.Errorf("%v: got %s, %v", wrong, out, err)
		}
	}
}
