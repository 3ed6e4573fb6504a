package container

import (
	"fmt"
	"math"
	"time"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/domain/environment"
)

// Spec has the settings with which the original API runs a container. This service runs no
// container, so it only stores a Spec and answers it. Answers and table rows use the same
// JSON names.
type Spec struct {
	// Image is the URL of the running container, if the client gave it as the image.
	Image                  string            `json:"image"`
	EnvironmentVariables   map[string]string `json:"environment_variables"`
	MinScale               uint64            `json:"min_scale"`
	MaxScale               uint64            `json:"max_scale"`
	MemoryLimitBytes       uint64            `json:"memory_limit_bytes"`
	MVCPULimit             uint64            `json:"mvcpu_limit"`
	LocalStorageLimitBytes uint64            `json:"local_storage_limit_bytes"`
	Protocol               string            `json:"protocol"`
	Port                   uint64            `json:"port"`
	HTTPSConnectionsOnly   bool              `json:"https_connections_only"`
	Sandbox                string            `json:"sandbox"`
	ScalingOption          ScalingOption     `json:"scaling_option"`
	LivenessProbe          *Probe            `json:"liveness_probe"`
	StartupProbe           *Probe            `json:"startup_probe"`
	PrivateNetworkID       *string           `json:"private_network_id"`
	Command                []string          `json:"command"`
	Args                   []string          `json:"args"`
	DefaultPublicEndpoint  bool              `json:"default_public_endpoint_enabled"`
	PrivateEndpoint        bool              `json:"enable_private_endpoint"`
}

// ScalingOption has exactly one threshold.
type ScalingOption struct {
	ConcurrentRequests *uint64 `json:"concurrent_requests_threshold,omitempty"`
	CPUUsage           *uint64 `json:"cpu_usage_threshold,omitempty"`
	MemoryUsage        *uint64 `json:"memory_usage_threshold,omitempty"`
}

// Probe has exactly one of TCP and HTTP.
type Probe struct {
	FailureThreshold uint64     `json:"failure_threshold"`
	Interval         string     `json:"interval"`
	Timeout          string     `json:"timeout"`
	TCP              *struct{}  `json:"tcp,omitempty"`
	HTTP             *HTTPProbe `json:"http,omitempty"`
}

// HTTPProbe is the HTTP request of a [Probe].
type HTTPProbe struct {
	Path string `json:"path"`
}

// DefaultSpec returns the defaults of the original API. They come from the answers that the
// Terraform provider recorded for its acceptance tests, and the port from the original's
// documentation.
func DefaultSpec() Spec {
	concurrent := uint64(50)
	return Spec{
		EnvironmentVariables: map[string]string{},
		MaxScale:             5, MemoryLimitBytes: 2_048_000_000, MVCPULimit: 1000, LocalStorageLimitBytes: 1_000_000_000,
		Protocol: "http1", Port: 8080, Sandbox: "v2",
		ScalingOption: ScalingOption{ConcurrentRequests: &concurrent},
		LivenessProbe: defaultProbe(),
		Command:       []string{}, Args: []string{},
		DefaultPublicEndpoint: true,
	}
}

func defaultProbe() *Probe {
	return &Probe{FailureThreshold: 30, Interval: "10s", Timeout: "1s", TCP: &struct{}{}}
}

// The limits of a Spec, in bytes. They are ours, and keep a row far below DynamoDB's 400 KB.
const (
	maxCommand   = 16 << 10
	maxProbePath = 2048

	maxProbeTime = time.Hour
)

// apply sets the fields that the body gives.
func (s *Spec) apply(object request.Object, faults *apierr.Arguments) {
	set(&s.EnvironmentVariables, environment.Read(object, "environment_variables", faults))
	set(&s.MinScale, object.Number("min_scale", 0, math.MaxUint32))
	set(&s.MaxScale, object.Number("max_scale", 0, math.MaxUint32))
	set(&s.MemoryLimitBytes, object.Number("memory_limit_bytes", 0, math.MaxInt64))
	set(&s.MVCPULimit, object.Number("mvcpu_limit", 0, math.MaxUint32))
	set(&s.LocalStorageLimitBytes, object.Number("local_storage_limit_bytes", 0, math.MaxInt64))
	set(&s.Protocol, object.Enum("protocol", "http1", "h2c"))
	set(&s.Port, object.Number("port", 1, math.MaxUint16))
	set(&s.HTTPSConnectionsOnly, object.Bool("https_connections_only"))
	set(&s.HTTPSConnectionsOnly, object.Bool("https_connection_only")) // the original's update uses this name
	set(&s.Sandbox, object.Enum("sandbox", "v1", "v2"))
	s.ScalingOption = s.ScalingOption.with(object, faults)
	s.LivenessProbe = s.LivenessProbe.with(object, "liveness_probe", faults)
	s.StartupProbe = s.StartupProbe.with(object, "startup_probe", faults)
	if network := object.String("private_network_id"); network != nil {
		s.PrivateNetworkID = nil
		if *network != "" {
			id := request.UUID(faults, "private_network_id", *network)
			s.PrivateNetworkID = &id
		}
	}
	set(&s.Command, object.Strings("command"))
	checkCommand(faults, "command", s.Command)
	set(&s.Args, object.Strings("args"))
	checkCommand(faults, "args", s.Args)
	set(&s.DefaultPublicEndpoint, object.Bool("enable_default_public_endpoint"))
	set(&s.PrivateEndpoint, object.Bool("enable_private_endpoint"))
}

// set sets a field to the given value, unless that is nil.
func set[T any](field *T, given *T) {
	if given != nil {
		*field = *given
	}
}

// with returns the option that the body gives, or o if the body gives none.
func (o ScalingOption) with(object request.Object, faults *apierr.Arguments) ScalingOption {
	option, ok := object.Object("scaling_option")
	if !ok {
		return o
	}
	given := ScalingOption{
		ConcurrentRequests: option.Number("concurrent_requests_threshold", 0, math.MaxUint32),
		CPUUsage:           option.Number("cpu_usage_threshold", 0, math.MaxUint32),
		MemoryUsage:        option.Number("memory_usage_threshold", 0, math.MaxUint32),
	}
	count := 0
	for _, threshold := range []*uint64{given.ConcurrentRequests, given.CPUUsage, given.MemoryUsage} {
		if threshold != nil {
			count++
		}
	}
	switch count {
	case 0:
		return o
	case 1:
		return given
	}
	faults.Add("scaling_option", apierr.Constraint, "must have exactly one of concurrent_requests_threshold, cpu_usage_threshold and memory_usage_threshold")
	return o
}

// with returns the probe with the fields that the body gives. A new probe has the default
// for every other field. p is nil if there is no probe yet.
func (p *Probe) with(object request.Object, name string, faults *apierr.Arguments) *Probe {
	given, ok := object.Object(name)
	if !ok {
		return p
	}
	probe := defaultProbe()
	if p != nil {
		*probe = *p
	}
	// The Go SDK sends 0 for a threshold that its user did not name.
	if threshold := given.Number("failure_threshold", 0, math.MaxUint32); threshold != nil && *threshold > 0 {
		probe.FailureThreshold = *threshold
	}
	if interval := given.String("interval"); interval != nil {
		probe.Interval = request.DurationText(request.Duration(faults, name+".interval", *interval, 0, maxProbeTime))
	}
	if timeout := given.String("timeout"); timeout != nil {
		probe.Timeout = request.DurationText(request.Duration(faults, name+".timeout", *timeout, 0, maxProbeTime))
	}
	_, tcp := given.Object("tcp")
	http, ok := given.Object("http")
	switch {
	case tcp && ok:
		faults.Add(name, apierr.Constraint, "must have exactly one of tcp and http")
	case tcp:
		probe.TCP, probe.HTTP = &struct{}{}, nil
	case ok:
		get := HTTPProbe{Path: "/"}
		if probe.HTTP != nil {
			get = *probe.HTTP
		}
		if path := http.String("path"); path != nil && *path != "" {
			get.Path = request.Text(faults, name+".http.path", *path, maxProbePath)
		}
		probe.TCP, probe.HTTP = nil, &get
	}
	return probe
}

// checkCommand adds a fault if the words are too long in total.
func checkCommand(faults *apierr.Arguments, argument string, words []string) {
	size := 0
	for _, word := range words {
		size += len(word) + 1 // a list of empty words must not be free
	}
	if size > maxCommand {
		faults.Add(argument, apierr.Constraint, fmt.Sprintf("must have at most %d bytes in total, counting one more for each element", maxCommand))
	}
}
