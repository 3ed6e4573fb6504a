package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	container "github.com/scaleway/scaleway-sdk-go/api/container/v1"
)

// TestRestore_BringsADeletedTriggerBackToWork follows infra/RUNBOOK.md.
func TestRestore_BringsADeletedTriggerBackToWork(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.createCron("restored", "* * * * *", "Europe/Paris").ID
	b.expectReady(id)
	environment, db := b.Function("reconcile").Environment, dynamodb.NewFromConfig(b.AWSConfig())
	rows := map[string]string{environment["CONTAINERS_TABLE"]: b.containerID, environment["TRIGGERS_TABLE"]: id}
	for table, own := range rows {
		restored := table + "-restored"
		_, err := db.RestoreTableToPointInTime(t.Context(), &dynamodb.RestoreTableToPointInTimeInput{SourceTableName: &table, TargetTableName: &restored})
		if isUnknownOperation(err) {
			tellGap(t, "the rows of a restored table bring a deleted trigger back")
			t.Skip("the emulator restores no tables")
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if _, err := db.DeleteTable(context.WithoutCancel(t.Context()), &dynamodb.DeleteTableInput{TableName: &restored}); err != nil {
				t.Error(err)
			}
		})
		// Other tests share the tables and must not get their rows back.
		for pages := dynamodb.NewScanPaginator(db, &dynamodb.ScanInput{TableName: &restored}); pages.HasMorePages(); {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range page.Items {
				if row["id"].(*types.AttributeValueMemberS).Value == own {
					continue
				}
				if _, err := db.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &restored, Key: map[string]types.AttributeValue{"id": row["id"]}}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}

	b.do(http.MethodDelete, regional+"/containers/"+b.containerID, "", nil)
	b.eventually("the container and its trigger are deleted", func() bool {
		_, err := b.api.GetContainer(&container.GetContainerRequest{ContainerID: b.containerID})
		return isNotFound(err)
	})
	for _, table := range []string{environment["CONTAINERS_TABLE"], environment["TRIGGERS_TABLE"]} {
		restore := exec.CommandContext(t.Context(), "go", "run", "../operate", "restore", table+"-restored", table)
		restore.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+b.AWSEndpoint(), "AWS_REGION="+b.AWSConfig().Region, "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local")
		if output, err := restore.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, output)
		}
	}
	exact := newExactly(t, b.world)
	b.eventually("reconcile makes the schedule again", func() bool {
		row, err := exact.triggers.Get(t.Context(), id)
		return err == nil && row.Settled() && exact.schedules(t)[id] == 1
	})
	b.nextMinute()
	if c := b.nextCall(); c.body != "of restored" {
		t.Errorf("got %q", c.body)
	}
	// Nobody has counted the rows that are back. sweep corrects the counts later.
	wrong := miscounted(b.world, time.Hour)
	for _, count := range wrong {
		if name := fmt.Sprint(count); !strings.HasSuffix(name, b.organization) && !strings.HasSuffix(name, b.containerID) {
			t.Errorf("%v differs from its rows", count)
		}
	}
	if len(wrong) == 0 {
		t.Error("the counts of the rows that are back are right")
	}
}
