// Package cloud is the local cloud as a whole: an AWS emulator with the
// project's template deployed on it, and beside it what the emulator leaves out
// (the HTTP API, the functions' runtime, firing schedules, event source
// mappings), all on loopback addresses.
package cloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	awsscheduler "github.com/aws/aws-sdk-go-v2/service/scheduler"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"golang.org/x/time/rate"

	"containertriggers/infra/local/gateway"
	"containertriggers/infra/local/guard"
	"containertriggers/infra/local/lambda"
	"containertriggers/infra/local/mapping"
	"containertriggers/infra/local/moto"
	"containertriggers/infra/local/natsd"
	"containertriggers/infra/local/role"
	"containertriggers/infra/local/scheduler"
	"containertriggers/infra/local/stack"
)

// StackName is the name that the template is deployed under.
const StackName = "local"

// Cloud is a local cloud. Set the fields, then Start it; Close it in the end.
type Cloud struct {
	// Root is the project's folder, with template.yaml and .build in it.
	Root string
	// Build is where the functions' binaries are, if not in .build.
	Build string
	// Environment is what functions get beside their own variables.
	Environment map[string]string
	// Python is an interpreter that has what requirements.txt says.
	Python string
	// Address is where the API listens; port 0 takes a free one.
	Address string
	// Endpoint is an AWS emulator to use instead of starting one.
	Endpoint string
	// Now is the time by which schedules fire.
	Now func() time.Time
	// RetryDelay is the pause before the first retry of an asynchronous
	// invocation. Lambda's is a minute.
	RetryDelay time.Duration
	// RelayTime is how long a run of the relay lasts, if not as long as in the
	// template.
	RelayTime time.Duration
	// Parameters are parameters of the template, beside those of a local cloud.
	Parameters map[string]string
	// Log takes what functions write, line by line.
	Log func(function, line string)

	stack     stack.Stack
	functions map[string]lambda.Function // by logical ID
	moto      *moto.Server
	endpoint  string
	apiURL    string
	host      *lambda.Host
	guard     *guard.Guard
	nats      *natsd.Server
	closers   []func()
}

// Start starts everything and returns when the API answers. On an error nothing
// is left running.
func (c *Cloud) Start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	// The address first: a port that is taken is told of at once.
	listener, err := net.Listen("tcp", c.Address)
	if err != nil {
		return fmt.Errorf("the API cannot listen on %s: %w", c.Address, err)
	}
	c.closers = append(c.closers, func() { _ = listener.Close() })
	c.apiURL = "http://" + listener.Addr().String()

	if err := c.startEmulator(); err != nil {
		return err
	}
	parameters := map[string]string{
		// Containers may run on this machine.
		"AllowHttpEndpoints": "true", "AllowPrivateEndpoints": "true",
		"AwsEndpointUrl": c.endpoint,
	}
	maps.Copy(parameters, c.Parameters)
	c.stack, err = stack.Deploy(ctx, c.Python, c.endpoint, filepath.Join(c.Root, "template.yaml"), StackName, parameters)
	if err != nil {
		return err
	}
	cfg := moto.Config(c.endpoint)
	queues := sqs.NewFromConfig(cfg)
	environment := map[string]string{
		"AWS_REGION": moto.Region, "AWS_DEFAULT_REGION": moto.Region,
		"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
	}
	maps.Copy(environment, c.Environment)
	c.host = &lambda.Host{Queues: queues, RetryDelay: c.RetryDelay, Log: c.Log, Environment: environment}
	c.host.Start()
	c.closers = append(c.closers, c.host.Close)
	if err := c.addFunctions(ctx, awslambda.NewFromConfig(cfg)); err != nil {
		return err
	}
	if err := c.enforceRoles(); err != nil {
		return err
	}
	c.guard.SetInvoke(c.host.InvokeAsync)
	if c.nats, err = natsd.Start(nil); err != nil {
		return err
	}
	c.closers = append(c.closers, c.nats.Close)
	c.run(c.pollers(cfg, queues)...)
	api := gateway.Gateway{Routes: c.routes(), Invoke: c.host.Invoke}
	if limit := c.stack.Throttle; limit.Rate > 0 {
		api.Limit = rate.NewLimiter(rate.Limit(limit.Rate), limit.Burst)
	}
	c.serve(listener, api)
	return nil
}

// startEmulator starts moto, unless there is an emulator already, and the guard
// before it.
func (c *Cloud) startEmulator() error {
	endpoint := c.Endpoint
	if endpoint == "" {
		server, err := moto.Start(context.Background(), c.Python)
		if err != nil {
			return err
		}
		c.moto, endpoint = server, server.Endpoint()
		c.closers = append(c.closers, server.Close)
	} else if err := answers(endpoint); err != nil {
		return fmt.Errorf("nothing answers at AWS_ENDPOINT_URL=%s: unset it to have an emulator started: %w", endpoint, err)
	}
	var err error
	if c.guard, err = guard.New(endpoint); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serving AWS: %w", err)
	}
	c.endpoint = "http://" + listener.Addr().String()
	c.serve(listener, c.guard)
	return nil
}

// answers says whether anything listens at an endpoint.
func answers(endpoint string) error {
	target, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	connection, err := net.DialTimeout("tcp", target.Host, 5*time.Second)
	if err != nil {
		return err
	}
	return connection.Close()
}

// addFunctions makes the deployed functions run, with the environment that the
// emulator says they have.
func (c *Cloud) addFunctions(ctx context.Context, client *awslambda.Client) error {
	c.functions = map[string]lambda.Function{}
	for logicalID, deployed := range c.stack.Functions {
		described, err := client.GetFunctionConfiguration(ctx, &awslambda.GetFunctionConfigurationInput{FunctionName: &deployed.Name})
		if err != nil {
			return fmt.Errorf("describing %s: %w", logicalID, err)
		}
		f := lambda.Function{
			Name: deployed.Name, ARN: *described.FunctionArn,
			Binary:   filepath.Join(cmp.Or(c.Build, filepath.Join(c.Root, ".build")), deployed.Folder, "bootstrap"),
			Timeout:  time.Duration(aws.ToInt32(described.Timeout)) * time.Second,
			MemoryMB: int(aws.ToInt32(described.MemorySize)),
			Retries:  lambda.DefaultRetries, MaxAge: lambda.DefaultMaxAge,
		}
		if described.Environment != nil {
			f.Environment = described.Environment.Variables
		}
		if _, err := os.Stat(f.Binary); err != nil {
			return fmt.Errorf("%s has no binary: run `make build`: %w", logicalID, err)
		}
		config, err := client.GetFunctionEventInvokeConfig(ctx, &awslambda.GetFunctionEventInvokeConfigInput{FunctionName: &deployed.Name})
		if err == nil {
			f.Retries = int(aws.ToInt32(config.MaximumRetryAttempts))
			f.MaxAge = time.Duration(aws.ToInt32(config.MaximumEventAgeInSeconds)) * time.Second
			if config.DestinationConfig != nil && config.DestinationConfig.OnFailure != nil {
				f.OnFailure = aws.ToString(config.DestinationConfig.OnFailure.Destination)
			}
		}
		if deployed.Folder == "relay" && c.RelayTime > 0 {
			f.Timeout = c.RelayTime
		}
		c.functions[logicalID] = f
		c.host.Add(f, stack.Label(logicalID))
	}
	return nil
}

// enforceRoles has functions do only what their roles in the template allow.
func (c *Cloud) enforceRoles() error {
	roles, place := map[string]role.Role{}, role.Place{}
	for logicalID, f := range c.functions {
		of, err := role.New(c.stack.Functions[logicalID].Policies...)
		if err != nil {
			return fmt.Errorf("the role of %s: %w", logicalID, err)
		}
		roles[f.Name] = of
		where, err := arn.Parse(f.ARN)
		if err != nil {
			return fmt.Errorf("the ARN of %s: %w", logicalID, err)
		}
		place = role.Place{Region: where.Region, Account: where.AccountID}
	}
	c.guard.SetRoles(place, roles)
	return nil
}

func (c *Cloud) pollers(cfg aws.Config, queues *sqs.Client) []func(context.Context) {
	deadLetter := func(ctx context.Context, arn, payload string) error {
		return lambda.SendToARN(ctx, queues, arn, payload)
	}
	schedules := &scheduler.Scheduler{
		Client: awsscheduler.NewFromConfig(cfg), Invoke: c.host.InvokeAsync, DeadLetter: deadLetter, Now: c.Now,
	}
	mappings := mapping.Poller{
		Lambda: awslambda.NewFromConfig(cfg), Streams: dynamodbstreams.NewFromConfig(cfg),
		Queues: queues, Invoke: c.host.Invoke, DeadLetter: deadLetter,
	}
	return []func(context.Context){schedules.Run, mappings.Run}
}

// run runs loops until the cloud is closed.
func (c *Cloud) run(loops ...func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	for _, loop := range loops {
		work.Go(func() { loop(ctx) })
	}
	c.closers = append(c.closers, func() {
		cancel()
		work.Wait()
	})
}

func (c *Cloud) serve(listener net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // until it is closed
	c.closers = append(c.closers, func() { _ = server.Close() })
}

func (c *Cloud) routes() []gateway.Route {
	routes := make([]gateway.Route, len(c.stack.Routes))
	for i, route := range c.stack.Routes {
		routes[i] = gateway.Route{Method: route.Method, Path: route.Path, Function: c.stack.Functions[route.Function].Name}
	}
	return routes
}

// APIURL is what SCW_API_URL is set to.
func (c *Cloud) APIURL() string { return c.apiURL }

// AWSConfig is the AWS configuration of the emulator.
func (c *Cloud) AWSConfig() aws.Config { return moto.Config(c.endpoint) }

// AWSEndpoint is what AWS_ENDPOINT_URL is set to.
func (c *Cloud) AWSEndpoint() string { return c.endpoint }

// NATSURL is where the NATS server is.
func (c *Cloud) NATSURL() string { return c.nats.URL() }

// Function is the deployed function whose code is in that folder: where it is
// deployed more than once, the one that is named after the folder.
func (c *Cloud) Function(folder string) lambda.Function {
	for logicalID, f := range c.functions {
		if stack.Label(logicalID) == folder {
			return f
		}
	}
	return lambda.Function{}
}

// Environments are the functions' environments by their logical IDs.
func (c *Cloud) Environments() map[string]map[string]string {
	environments := map[string]map[string]string{}
	for logicalID, f := range c.functions {
		environments[logicalID] = f.Environment
	}
	return environments
}

// Invoke runs the function whose code is in that folder and waits for its answer.
func (c *Cloud) Invoke(ctx context.Context, folder string, payload []byte) ([]byte, error) {
	return c.host.Invoke(ctx, c.Function(folder).Name, payload)
}

// Ended is closed when the emulator that Start started has ended by itself.
func (c *Cloud) Ended() <-chan struct{} {
	if c.moto == nil {
		return nil
	}
	return c.moto.Done()
}

// ErrEnded says that the emulator is gone, and all state with it.
var ErrEnded = errors.New("the AWS emulator has ended, and all state with it")

// Close stops everything, the last started first, and waits until it has.
func (c *Cloud) Close() {
	for i := len(c.closers) - 1; i >= 0; i-- {
		c.closers[i]()
	}
	c.closers = nil
}
