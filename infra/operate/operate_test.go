package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"

	"containertriggers/infra/local/moto"
	"containertriggers/infra/local/moto/mototest"
	"containertriggers/infra/local/stack"
	"containertriggers/shared/aws/seal"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/container"
	"containertriggers/shared/domain/trigger"
)

// deployed deploys the template under a name of its own.
func deployed(t *testing.T, name string) stack.Stack {
	t.Helper()
	s, err := stack.Deploy(t.Context(), moto.Python(), *mototest.Config(t).BaseEndpoint, "../../template.yaml", name, map[string]string{"Stage": "prod"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mapQueue maps a new queue on a function, as reconcile does.
func mapQueue(t *testing.T, cfg aws.Config, function string) {
	t.Helper()
	name := uuid.NewString()
	if _, err := sqs.NewFromConfig(cfg).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name}); err != nil {
		t.Fatal(err)
	}
	_, err := lambda.NewFromConfig(cfg).CreateEventSourceMapping(t.Context(), &lambda.CreateEventSourceMappingInput{
		FunctionName: &function, EventSourceArn: aws.String("arn:aws:sqs:us-east-1:123456789012:" + name),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// environment returns the variables of a deployed function.
func environment(t *testing.T, cfg aws.Config, function string) map[string]string {
	t.Helper()
	described, err := lambda.NewFromConfig(cfg).GetFunctionConfiguration(t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: &function})
	if err != nil {
		t.Fatal(err)
	}
	return described.Environment.Variables
}

// mapped counts the mappings on functions of a stack.
func mapped(t *testing.T, cfg aws.Config, of stack.Stack) (count int) {
	t.Helper()
	all, err := lambda.NewFromConfig(cfg).ListEventSourceMappings(t.Context(), &lambda.ListEventSourceMappingsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, mapping := range all.EventSourceMappings {
		for _, function := range of.Functions {
			if strings.HasSuffix(*mapping.FunctionArn, ":"+function.Name) {
				count++
			}
		}
	}
	return count
}

// It sets PATH, so it must not be parallel.
func TestUndeploy_DeletesMappingsFirstAndSaysWhatIsRetained(t *testing.T) {
	cfg, gone, other := mototest.Config(t), deployed(t, "gone"), mototest.Stack(t)
	functions, tables := lambda.NewFromConfig(cfg), dynamodb.NewFromConfig(cfg)
	own := mapped(t, cfg, gone) // by the template
	if own == 0 {
		t.Error("the template has no mapping of its own")
	}
	for _, dispatcher := range []string{"DispatchQueueFunction", "DispatchQueueLongFunction"} {
		mapQueue(t, cfg, gone.Functions[dispatcher].Name)
		mapQueue(t, cfg, other.Functions[dispatcher].Name)
	}
	key := environment(t, cfg, gone.Functions[reconciler].Name)["KMS_KEY_ID"]
	// A SAM CLI that only writes its arguments down.
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "sam"), []byte("#!/bin/sh\necho \"$@\" > "+folder+"/arguments\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	var out bytes.Buffer

	if err := newUndeploy(cfg, "gone", strings.NewReader("no\n"), &out).run(t.Context()); err == nil {
		t.Error("the stack is deleted without consent")
	}
	if left := mapped(t, cfg, gone); left != own+2 {
		t.Errorf("without consent, %d mappings are left, want %d", left, own+2)
	}
	u := newUndeploy(cfg, "gone", strings.NewReader("gone\n"), &out)
	sam := u.deleteStack
	u.pause = time.Millisecond
	u.deleteStack = func(ctx context.Context) error {
		if left := mapped(t, cfg, gone); left != own {
			t.Errorf("when the stack is deleted, %d mappings are left, want the stack's own %d", left, own)
		}
		reconcile, err := functions.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: aws.String(gone.Functions[reconciler].Name)})
		if err != nil || reconcile.ReservedConcurrentExecutions == nil || *reconcile.ReservedConcurrentExecutions > 0 {
			t.Errorf("reconcile may still run: %+v, %v", reconcile, err)
		}
		mapQueue(t, cfg, gone.Functions["DispatchQueueFunction"].Name) // by a run that was under way
		if err := sam(ctx); err != nil {
			return err
		}
		_, err = cloudformation.NewFromConfig(cfg).DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: aws.String("gone")})
		return err
	}
	if err := u.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, kept := mapped(t, cfg, gone), mapped(t, cfg, other); left > 0 || kept != own+2 {
		t.Errorf("left are %d mappings of the stack, and %d of the other, want %d", left, kept, own+2)
	}
	arguments, err := os.ReadFile(filepath.Join(folder, "arguments"))
	if err != nil || strings.TrimSpace(string(arguments)) != "delete --stack-name gone --region us-east-1 --no-prompts" {
		t.Errorf("sam got %q, %v", arguments, err)
	}

	// What it says is what there is: the commands that it prints name each table.
	listed, err := tables.ListTables(t.Context(), &dynamodb.ListTablesInput{})
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, table := range listed.TableNames {
		if strings.HasPrefix(table, "gone-") {
			want = append(want, "aws dynamodb update-table --table-name "+table+" --no-deletion-protection-enabled", "aws dynamodb delete-table --table-name "+table)
		}
	}
	for line := range strings.Lines(out.String()) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "   #")
		if strings.HasPrefix(line, "aws ") {
			got = append(got, line)
		}
	}
	want = append(want, "aws kms schedule-key-deletion --key-id "+key[strings.LastIndex(key, "/")+1:])
	slices.Sort(want)
	slices.Sort(got)
	if len(want) != 2*6+1 || !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// The rows of one stack come to another one, with secrets that the other stack's key opens.
func TestRestore_BringsRowsAndTheirSecretsToAnotherStack(t *testing.T) {
	t.Parallel()
	cfg, old, env := mototest.Config(t), deployed(t, "old"), mototest.Environment(t, "reconcile")
	db, keys := dynamodb.NewFromConfig(cfg), kms.NewFromConfig(cfg)
	before := environment(t, cfg, old.Functions[reconciler].Name)
	containers := store.Containers{Client: db, Table: before["CONTAINERS_TABLE"]}
	triggers := store.Triggers{Client: db, Table: before["TRIGGERS_TABLE"]}
	on := container.Container{ID: uuid.NewString(), Region: "fr-par", Status: container.Ready, Tags: []string{}, Generation: 1}
	sealer := seal.Sealer{Client: keys, KeyID: before["KMS_KEY_ID"]}
	var err error
	if on.SealedToken, err = sealer.Seal(t.Context(), "container", on.ID, "token"); err != nil {
		t.Fatal(err)
	}
	if err := containers.Create(t.Context(), on); err != nil {
		t.Fatal(err)
	}
	body := `{"name":"n","container_id":"` + on.ID + `","cron_config":{"schedule":"@daily"}}`
	tr, _, err := trigger.Create([]byte(body), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := triggers.Create(t.Context(), containers, tr); err != nil {
		t.Fatal(err)
	}
	if err := triggers.MarkObserved(t.Context(), tr, "", time.Now()); err != nil {
		t.Fatal(err)
	}

	restored := func(r restore, want string) {
		t.Helper()
		var out bytes.Buffer
		r.tables, r.keys, r.out = db, keys, &out
		if err := r.run(t.Context()); err != nil || strings.TrimSpace(out.String()) != want {
			t.Errorf("got %q, %v, want %q", out.String(), err, want)
		}
	}
	restored(restore{from: containers.Table, to: env["CONTAINERS_TABLE"], key: env["KMS_KEY_ID"], resource: "container"}, env["CONTAINERS_TABLE"]+": 1 rows are back, 0 were there")
	restored(restore{from: triggers.Table, to: env["TRIGGERS_TABLE"]}, env["TRIGGERS_TABLE"]+": 1 rows are back, 0 were there")

	containers.Table, triggers.Table, sealer.KeyID = env["CONTAINERS_TABLE"], env["TRIGGERS_TABLE"], env["KMS_KEY_ID"]
	got, err := containers.Get(t.Context(), on.ID)
	if err != nil {
		t.Fatal(err)
	}
	if token, err := sealer.Open(t.Context(), "container", on.ID, got.SealedToken); err != nil || token != "token" {
		t.Errorf("the token is %q, %v", string(token), err)
	}
	row, err := triggers.Get(t.Context(), tr.ID)
	if err != nil || row.Settled() || row.Status != trigger.Ready {
		t.Errorf("reconcile would not look at the trigger: %+v, %v", row, err)
	}
	// What is there stays: its owner may have changed it since.
	if err := triggers.MarkObserved(t.Context(), row, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	restored(restore{from: before["TRIGGERS_TABLE"], to: triggers.Table}, triggers.Table+": 0 rows are back, 1 were there")
	if row, err = triggers.Get(t.Context(), tr.ID); err != nil || !row.Settled() {
		t.Errorf("a row that was there is changed: %+v, %v", row, err)
	}
}

func TestOperate_RefusesWhatItDoesNotUnderstand(t *testing.T) {
	t.Setenv("AWS_REGION", "us-east-1")
	for _, args := range [][]string{
		{}, {"deploy"}, {"undeploy"}, {"undeploy", "a", "b"}, {"restore", "a"}, {"restore", "-key", "k", "a", "b"}, {"restore", "-secrets", "trigger", "a", "b"}, {"restore", "-x", "a", "b"},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), args, strings.NewReader(""), &out); err == nil || out.Len() > 0 {
			t.Errorf("%v: got %q, %v", args, out.String(), err)
		}
	}
}

func TestMakefile_UndeploysTheStackOfTheStage(t *testing.T) {
	t.Parallel()
	for stage, want := range map[string]string{"dev": "container-triggers-dev", "prod": "container-triggers-prod", "other": ""} {
		output, err := exec.CommandContext(t.Context(), "make", "-C", "../..", "-n", "undeploy", "STAGE="+stage).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, output)
		}
		if !strings.Contains(string(output), "operate undeploy "+want+"\n") || !strings.Contains(string(output), `test -n "`+want+`"`) {
			t.Errorf("%s: got %s", stage, output)
		}
	}
}
