package apierr_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"containertriggers/shared/contract/apierr"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

const id = "8f5d9521-e950-41e0-b980-b85131050aff"

// invalid returns an error with two faults of one request.
func invalid() error {
	var faults apierr.Arguments
	faults.Require("name")
	faults.Add("cron_config.schedule", apierr.Format, "must have five fields")
	return faults.Err()
}

func TestError_HasTheFormOfTheContract(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err    error
		status int
	}{
		"invalid_arguments":                      {invalid(), 400},
		"invalid_arguments-one":                  {apierr.InvalidArgument("region", apierr.Constraint, "is not served here"), 400},
		"denied_authentication-invalid_argument": {apierr.DeniedAuthentication(apierr.DeniedInvalid), 401},
		"denied_authentication-not_found":        {apierr.DeniedAuthentication(apierr.DeniedNotFound), 401},
		"denied_authentication-expired":          {apierr.DeniedAuthentication(apierr.DeniedExpired), 401},
		"permissions_denied":                     {apierr.PermissionsDenied("write", "trigger"), 403},
		"quotas_exceeded":                        {apierr.QuotasExceeded(apierr.Quota{Resource: "triggers_per_container", Quota: 2, Current: 2}), 403},
		"not_found":                              {apierr.NotFound("trigger", id), 404},
		"transient_state":                        {apierr.TransientState("trigger", id, "deleting"), 409},
		"too_many_requests":                      {apierr.TooManyRequests(3), 429},
		"internal_error":                         {apierr.Internal(), 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := apierr.From(fmt.Errorf("creating a trigger: %w", test.err))
			if told.Status != test.status || !strings.HasPrefix(name, string(told.Type)) {
				t.Errorf("got %s with status %d, want %d", told.Type, told.Status, test.status)
			}
			var got bytes.Buffer
			encoder := json.NewEncoder(&got)
			encoder.SetIndent("", "  ")
			if err := encoder.Encode(told); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got %s\nwant %s", got.Bytes(), want)
			}
		})
	}
}

func TestTooManyRequests_SaysWhenToRetry(t *testing.T) {
	t.Parallel()
	if got := apierr.TooManyRequests(3).RetryAfter; got != 3 {
		t.Errorf("got %d", got)
	}
}

func TestFrom_HidesOtherErrors(t *testing.T) {
	t.Parallel()
	for _, err := range []error{errors.New("table triggers-prod does not exist"), nil} {
		text, marshalErr := json.Marshal(apierr.From(err))
		if marshalErr != nil {
			t.Fatal(marshalErr)
		}
		if want := `{"message":"internal error","type":"internal_error"}`; string(text) != want {
			t.Errorf("got %s", text)
		}
	}
}

func TestError_NamesTypeAndResource(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"not_found: resource is not found (trigger " + id + ")": apierr.NotFound("trigger", id),
		"internal_error: internal error":                        apierr.Internal(),
	} {
		if err.Error() != want {
			t.Errorf("got %s, want %s", err, want)
		}
	}
}

func TestArguments_KeepTheFirstFaultOfEachAndNameIt(t *testing.T) {
	t.Parallel()
	var faults apierr.Arguments
	if err := faults.Err(); err != nil {
		t.Errorf("no fault is %v", err)
	}
	faults.Add("name", apierr.Format, "must be a string")
	faults.Add("tags", apierr.Constraint, "must have at most 100 tags")
	faults.Require("name")
	want := []apierr.Argument{
		{Name: "name", Reason: apierr.Format, Help: "name must be a string"}, {Name: "tags", Reason: apierr.Constraint, Help: "tags must have at most 100 tags"},
	}
	if got, ok := apierr.From(faults.Err()).Details.([]apierr.Argument); !ok || !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}
