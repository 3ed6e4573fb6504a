package run

// StartEvent is the event of dispatch-run.
type StartEvent struct {
	RunID string `json:"run_id"`
}
