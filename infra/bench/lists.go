package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/uuid"

	"containertriggers/infra/local/lambda"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/auth"
	"containertriggers/shared/domain/trigger"
)

// lists measures the function list-trigger on a table with many triggers of one organization.
// Half of them are of one project, and of one container.
type lists struct {
	ctx         context.Context
	tables      *standIn
	host        *lambda.Host
	key         string
	ofProject   string
	ofContainer string
}

// query is a list that clients ask for.
type query struct {
	name       string
	parameters url.Values
}

// listFigures is what a request cost.
type listFigures struct {
	spent
	cpu   time.Duration
	bytes int
	// found is the number of triggers on the page, total is total_count.
	found, total int
}

// listsTable measures the lists of so many triggers.
func listsTable(ctx context.Context, sizes []int) error {
	var rows [][]string
	for _, size := range sizes {
		l, err := newLists(ctx, size)
		if err != nil {
			return fmt.Errorf("preparing %d triggers: %w", size, err)
		}
		for _, q := range l.queries() {
			cells, err := l.measure(q)
			if err != nil {
				l.close()
				return fmt.Errorf("listing %d triggers %s: %w", size, q.name, err)
			}
			rows = append(rows, append([]string{strconv.Itoa(size), q.name}, cells...))
		}
		l.close()
	}
	table("triggers\tlist\tpage 1: calls\tread units\twritten\tCPU\tpage 2: read\tlast page: read\tall pages: calls\tread\twritten\tindex read\t", rows)
	return nil
}

func (l *lists) queries() []query {
	return []query{
		{"by default", nil},
		{"the newest first", url.Values{"order_by": {"created_at_desc"}}},
		{"of a project", url.Values{"project_id": {l.ofProject}}},
		{"of a container", url.Values{"container_id": {l.ofContainer}}},
		{"by name", url.Values{"order_by": {"name_asc"}}},
		{"of a source", url.Values{"trigger_type": {"cron"}}},
	}
}

// measure asks for page 1 with the default size, and for all pages with 100 triggers each.
func (l *lists) measure(q query) ([]string, error) {
	first, err := l.page(q, 1, 20)
	if err != nil {
		return nil, err
	}
	// The CPU time of a single request varies.
	const repeated = 50
	before, err := l.cpu()
	if err != nil {
		return nil, err
	}
	again := 0
	for began := time.Now(); again < repeated && time.Since(began) < 3*time.Second; again++ {
		if _, err := l.page(q, 1, 20); err != nil {
			return nil, err
		}
	}
	after, err := l.cpu()
	if err != nil {
		return nil, err
	}
	first.cpu = (after - before) / time.Duration(again)
	l.tables.forget("snapshots")
	var all spent
	var second, last listFigures
	for number, found := 1, 0; number == 1 || last.found > 0 && found < last.total; number++ {
		if last, err = l.page(q, number, 100); err != nil {
			return nil, err
		}
		if number == 2 {
			second = last
		}
		found += last.found
		all = all.plus(last.spent)
	}
	return []string{
		strconv.Itoa(first.calls), fmt.Sprintf("%.1f", first.read), fmt.Sprintf("%.0f", first.write), ms(first.cpu),
		fmt.Sprintf("%.1f", second.read), fmt.Sprintf("%.1f", last.read),
		strconv.Itoa(all.calls), fmt.Sprintf("%.0f", all.read), fmt.Sprintf("%.0f", all.write), fmt.Sprintf("x%.2f", float64(all.entries)/float64(l.tables.size("triggers"))),
	}, nil
}

func (l *lists) cpu() (time.Duration, error) {
	pid, err := processOf(filepath.Join(".build", "list-trigger", "bootstrap"))
	if err != nil {
		return 0, err
	}
	return cpuOf(pid)
}

// page invokes the function for a page, as API Gateway does.
func (l *lists) page(q query, number, size int) (f listFigures, err error) {
	text, err := os.ReadFile(filepath.Join("events", "list-trigger.json"))
	if err != nil {
		return f, err
	}
	var event map[string]any
	if err := json.Unmarshal(text, &event); err != nil {
		return f, err
	}
	parameters := url.Values{"page": {strconv.Itoa(number)}, "page_size": {strconv.Itoa(size)}}
	maps.Copy(parameters, q.parameters)
	event["rawQueryString"] = parameters.Encode()
	event["headers"].(map[string]any)["x-auth-token"] = l.key
	payload, err := json.Marshal(event)
	if err != nil {
		return f, err
	}
	before := l.tables.soFar()
	answered, err := l.host.Invoke(l.ctx, "list-trigger", payload)
	if err != nil {
		return f, err
	}
	f.spent, f.bytes = l.tables.soFar().minus(before), len(answered)
	var answer struct {
		StatusCode int
		Body       string
	}
	var list struct {
		Triggers   []json.RawMessage `json:"triggers"`
		TotalCount int               `json:"total_count"`
	}
	if err := json.Unmarshal(answered, &answer); err != nil {
		return f, err
	}
	if answer.StatusCode != http.StatusOK {
		return f, fmt.Errorf("it answered %d: %s", answer.StatusCode, answer.Body)
	}
	err = json.Unmarshal([]byte(answer.Body), &list)
	f.found, f.total = len(list.Triggers), list.TotalCount
	return f, err
}

func (l *lists) close() {
	l.host.Close()
	l.tables.close()
}

// newLists makes the triggers, and runs the function on them.
func newLists(ctx context.Context, count int) (*lists, error) {
	tables, err := newStandIn()
	if err != nil {
		return nil, err
	}
	l := &lists{ctx: ctx, tables: tables, ofProject: uuid.NewString(), ofContainer: uuid.NewString()}
	db := dynamodb.NewFromConfig(aws.Config{
		Region: "us-east-1", BaseEndpoint: &tables.url, Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	})
	organization := uuid.NewString()
	key, plain := auth.NewKey(auth.Principal{OrganizationID: organization, PermissionSet: auth.FullAccess}, "bench", time.Now(), time.Time{})
	l.key = string(plain)
	if err := (store.Keys{Client: db, Table: "keys"}).Create(ctx, key); err != nil {
		return nil, err
	}
	if err := l.fill(db, organization, count); err != nil {
		return nil, err
	}
	l.host = &lambda.Host{Log: func(string, string) {}, Environment: map[string]string{
		"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_ENDPOINT_URL": tables.url,
	}}
	l.host.Start()
	binary, err := filepath.Abs(filepath.Join(".build", "list-trigger", "bootstrap"))
	if err != nil {
		return nil, err
	}
	l.host.Add(lambda.Function{
		Name: "list-trigger", ARN: "list-trigger", Binary: binary, Timeout: time.Minute, MemoryMB: 256,
		Environment: map[string]string{
			"REGIONS": "fr-par", "API_DOMAIN": "", "KEYS_TABLE": "keys",
			"TRIGGERS_TABLE": "triggers", "COUNTS_TABLE": "counts", "SNAPSHOTS_TABLE": "snapshots",
		},
	}, "list-trigger")
	return l, nil
}

// fill stores the triggers and their counts. The store writes the first one, of which the others
// are copies.
func (l *lists) fill(db *dynamodb.Client, organization string, count int) error {
	body := fmt.Sprintf(`{"name":"nightly-report","container_id":%q,"cron_config":{"schedule":"0 3 * * *","timezone":"Europe/Paris","body":"{}"}}`, l.ofContainer)
	first, _, err := trigger.Create([]byte(body), uuid.NewString(), "fr-par", time.Now())
	if err != nil {
		return err
	}
	first.Owner = auth.Owner{OrganizationID: organization, ProjectID: l.ofProject, NamespaceID: uuid.NewString()}
	if err := (store.Triggers{Client: db, Table: "triggers"}).Create(l.ctx, store.Containers{Table: "containers"}, first); err != nil {
		return err
	}
	model := l.tables.rows["triggers"][first.ID]
	projects, containers := []string{l.ofProject, uuid.NewString()}, []string{l.ofContainer, uuid.NewString()}
	for i := 1; i < count; i++ {
		one, id := maps.Clone(model), uuid.NewString()
		at := first.CreatedAt.Add(time.Duration(i) * time.Millisecond).UTC().Format("2006-01-02T15:04:05.000000Z")
		one["id"], one["name"] = text(id), text(fmt.Sprintf("report-%06d", (i*7919)%count))
		one["project_id"], one["container_id"] = text(projects[i%2]), text(containers[i%2])
		one["created_at"], one["listing"] = text(at), text(projects[i%2]+"#"+at+"#"+id)
		l.tables.put("triggers", one)
	}
	l.tables.order("triggers")
	of := func(name string, projects map[string]int) {
		total, perProject := 0, attribute{}
		encoded := map[string]attribute{}
		for project, n := range projects {
			total += n
			encoded[project] = number(n)
		}
		perProject["M"], _ = json.Marshal(encoded) // numbers always encode
		l.tables.put("counts", row{
			"scope": text(name), "resource": text(trigger.Resource), "owner": text("fr-par#" + organization),
			"total": number(total), "projects": perProject, "changed_at": text("2026-01-01T00:00:00.000000Z"),
		})
	}
	half := count - count/2
	of("trigger/fr-par#"+organization, map[string]int{projects[0]: half, projects[1]: count / 2})
	of("trigger/container#"+l.ofContainer, map[string]int{projects[0]: half})
	return nil
}
