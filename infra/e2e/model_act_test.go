package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"pgregory.net/rapid"

	"containertriggers/shared/aws/eventsource"
	"containertriggers/shared/aws/store"
	"containertriggers/shared/domain/trigger"
)

// ask makes a request that may fail by a fault, and so without anybody knowing
// what became of it.
func (m *model) ask(method, route string, body any) (status int, answer map[string]any, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	request, err := http.NewRequestWithContext(m.t.Context(), method, m.APIURL()+regional+route, bytes.NewReader(text))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("X-Auth-Token", m.key)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, nil, err
	}
	switch status = response.StatusCode; status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return 0, nil, fmt.Errorf("%s %s is answered with %d %v", method, route, status, answer)
	}
	return status, answer, nil
}

func (m *model) call(method, route string, body any) (status int, answer map[string]any) {
	status, answer, err := m.ask(method, route, body)
	m.must(err)
	return status, answer
}

// died says whether a function was killed: API Gateway answers then, not we.
func died(answer map[string]any) bool { return answer["type"] == nil }

// until repeats a call until it is not broken.
func (m *model) until(method, route string, body any) (status int, answer map[string]any) {
	for {
		status, answer = m.call(method, route, body)
		if status < 500 && status != http.StatusTooManyRequests {
			return status, answer
		}
	}
}

func (m *model) newContainer(i int) {
	status, answer := m.until(http.MethodPost, "/containers", map[string]any{"name": "c", "public_endpoint": m.server.URL})
	if status != http.StatusOK {
		m.rt.Fatalf("creating a container: %d %v", status, answer)
	}
	m.containers[i] = answer["id"].(string)
}

func (m *model) row(id string) (trigger.Trigger, bool) {
	row, err := m.exact.triggers.Get(m.t.Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return trigger.Trigger{}, false
	}
	m.must(err)
	return row, true
}

// create asks for a trigger, and finds out what became of it.
func (m *model) create(source trigger.Source, container int, config map[string]any) {
	m.made++
	name := fmt.Sprintf("%s-%d", m.organization, m.made)
	body := map[string]any{"name": name, "container_id": m.containers[container], "description": fmt.Sprint(config["schedule"], " #", m.made), string(source) + "_config": config}
	status, answer := m.call(http.MethodPost, "/triggers", body)
	added := func(id string) {
		subject, _ := config["subject"].(string)
		m.triggers[id] = &tracked{id: id, container: container, source: source, description: body["description"].(string), subject: subject}
	}
	if status == http.StatusOK {
		added(answer["id"].(string))
		return
	}
	for _, row := range m.exact.rows(m.rt) {
		if row.Name != name {
			continue
		}
		if !died(answer) {
			m.rt.Fatalf("a create that took effect was answered with %d %v", status, answer)
		}
		added(row.ID)
	}
}

func (m *model) createCron(rt *rapid.T) {
	m.create(trigger.SourceCron, rapid.IntRange(0, 1).Draw(rt, "container"), map[string]any{
		"schedule": rapid.SampledFrom(schedules).Draw(rt, "schedule"), "timezone": "Europe/Paris",
	})
}

func (m *model) createSQS(rt *rapid.T) {
	m.create(trigger.SourceSQS, rapid.IntRange(0, 1).Draw(rt, "container"), m.queueConfig(rapid.SampledFrom(m.queues).Draw(rt, "queue")))
}

func (m *model) queueConfig(url string) map[string]any {
	return map[string]any{"endpoint": m.AWSEndpoint(), "queue_url": url, "access_key_id": "local", "secret_access_key": "local"}
}

// pick draws a trigger that was not deleted; false where there is none.
func (m *model) pick(rt *rapid.T) (*tracked, bool) {
	var ids []string
	for id, known := range m.triggers {
		if !known.deleted {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, false
	}
	slices.Sort(ids)
	return m.triggers[rapid.SampledFrom(ids).Draw(rt, "trigger")], true
}

// patch is a change of a trigger that is told by its description.
func (m *model) patch(rt *rapid.T, known *tracked) (body map[string]any, description string) {
	m.made++
	if known.source == trigger.SourceNATS {
		description = fmt.Sprintf("subject #%d", m.made)
		return map[string]any{"description": description}, description
	}
	if known.source == trigger.SourceSQS {
		description = fmt.Sprintf("queue #%d", m.made)
		return map[string]any{"description": description, "sqs_config": m.queueConfig(rapid.SampledFrom(m.queues).Draw(rt, "queue"))}, description
	}
	schedule := rapid.SampledFrom(schedules).Draw(rt, "schedule")
	description = fmt.Sprint(schedule, " #", m.made)
	return map[string]any{"description": description, "cron_config": map[string]any{"schedule": schedule}}, description
}

func (m *model) update(rt *rapid.T) {
	known, ok := m.pick(rt)
	if !ok {
		return
	}
	body, description := m.patch(rt, known)
	status, answer := m.call(http.MethodPatch, "/triggers/"+known.id, body)
	switch {
	case status == http.StatusOK:
		known.description = description
	case status >= 500 || status == http.StatusTooManyRequests:
		m.learn(known, []string{known.description, description})
	default:
		m.rt.Fatalf("updating a trigger that is there: %d %v", status, answer)
	}
}

// learn finds out which of several outcomes came true.
func (m *model) learn(known *tracked, may []string) {
	row, there := m.row(known.id)
	switch {
	case !there || row.Status == trigger.Deleting:
		known.deleted = true
	case !slices.Contains(may, row.Description):
		m.rt.Fatalf("the description is %q, and none of %q", row.Description, may)
	default:
		known.description = row.Description
	}
}

// crowd has several callers change one trigger at the same time.
func (m *model) crowd(rt *rapid.T) {
	known, ok := m.pick(rt)
	if !ok {
		return
	}
	type change struct {
		method string
		body   map[string]any
	}
	var changes []change
	may, deletes := []string{known.description}, false
	for range rapid.IntRange(2, 5).Draw(rt, "callers") {
		if rapid.IntRange(0, 9).Draw(rt, "delete") == 0 {
			changes = append(changes, change{http.MethodDelete, nil})
			deletes = true
			continue
		}
		body, description := m.patch(rt, known)
		may = append(may, description)
		changes = append(changes, change{http.MethodPatch, body})
	}
	var callers sync.WaitGroup
	var mu sync.Mutex
	var failure error
	took, deleted := false, false
	for _, c := range changes {
		callers.Go(func() {
			status, _, err := m.ask(c.method, "/triggers/"+known.id, c.body)
			mu.Lock()
			defer mu.Unlock()
			failure = errors.Join(failure, err)
			took = took || status == http.StatusOK
			deleted = deleted || status == http.StatusOK && c.method == http.MethodDelete
		})
	}
	callers.Wait()
	m.must(failure)
	if took && !deleted {
		may = may[1:] // one of the others came after it
	}
	m.learn(known, may)
	if deleted && !known.deleted || known.deleted && !deletes {
		m.rt.Fatalf("deleted is %t, and a caller's delete was answered with 200: %t, asked for: %t", known.deleted, deleted, deletes)
	}
}

func (m *model) delete(rt *rapid.T) {
	known, ok := m.pick(rt)
	if !ok {
		return
	}
	if status, _ := m.until(http.MethodDelete, "/triggers/"+known.id, nil); status != http.StatusOK && status != http.StatusNotFound {
		m.rt.Fatalf("deleting: %d", status)
	}
	known.deleted = true
}

// deleteContainer deletes the second container with its triggers, and makes another.
func (m *model) deleteContainer(rt *rapid.T) {
	if rapid.IntRange(0, 2).Draw(rt, "rarely") > 0 {
		return
	}
	m.until(http.MethodDelete, "/containers/"+m.containers[1], nil)
	for _, known := range m.triggers {
		if known.container == 1 {
			known.deleted = true
		}
	}
	m.newContainer(1)
}

// damage deletes a schedule or a mapping behind the service's back.
func (m *model) damage(rt *rapid.T) {
	known, ok := m.pick(rt)
	if !ok {
		return
	}
	row, there := m.row(known.id)
	if !there || row.Status != trigger.Ready || !row.Settled() || known.source == trigger.SourceNATS {
		return // a subscription is nothing that another can delete
	}
	known.damaged = true
	if known.source == trigger.SourceCron {
		m.must(m.exact.sources.Schedules.Remove(m.t.Context(), row))
		return
	}
	held, err := m.exact.claims.Held(m.t.Context(), known.id)
	m.must(err)
	for _, mapped := range m.exact.mappings(m.rt) {
		if slices.Contains(held, mapped.QueueARN) {
			if err := m.exact.sources.Queues.Mappings.Delete(m.t.Context(), mapped); !errors.Is(err, eventsource.ErrPending) {
				m.must(err)
			}
		}
	}
}
