// Package cloud runs the local cloud: an AWS emulator with the project's template deployed
// on it, and the services that the emulator lacks (the HTTP API, the functions' runtime,
// firing schedules, event source mappings). It listens only on loopback addresses unless
// BridgeAddress is set.
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
	awslambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
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

// Cloud is a local cloud. Set the fields, then Start it; Close it in the end.
type Cloud struct {
	// Root is the project's folder, with template.yaml and .build in it.
	Root string
	// Build is the folder of the functions' binaries. The default is .build.
	Build string
	// Environment holds further variables of all functions.
	Environment map[string]string
	// Python is an interpreter with the packages of requirements.txt.
	Python string
	// Address is the address of the API. Port 0 stands for a free port.
	Address string
	// Endpoint is an AWS emulator to use instead of starting one.
	Endpoint string
	// StackName is the name that the template is deployed under, if not local. Clouds on
	// one emulator need names of their own.
	StackName string
	// BridgeAddress is a second address of the emulator, for containers, on the same port.
	// If it is empty, the cloud listens only on loopback addresses.
	BridgeAddress string
	// Now is the time by which schedules fire.
	Now func() time.Time
	// RetryDelay is the pause before the first retry of an asynchronous invocation that
	// failed. Lambda's is a minute; the other pauses are in proportion.
	RetryDelay time.Duration
	// MappingTime is how long a change of an event source mapping lasts. On AWS it may take
	// a minute.
	MappingTime time.Duration
	// RelayTime is how long a run of the relay lasts, if not as long as in the
	// template.
	RelayTime time.Duration
	// IndexLag returns for each write how long the indexes of tables lag behind it. They do
	// not if it is nil.
	IndexLag func() time.Duration
	// Parameters are parameters of the template, beside those of a local cloud.
	Parameters map[string]string
	// Log receives the functions' logs line by line.
	Log func(function, line string)

	stack     stack.Stack
	account   string
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
	c.stack, err = stack.Deploy(ctx, c.Python, c.endpoint, filepath.Join(c.Root, "template.yaml"), cmp.Or(c.StackName, "local"), parameters)
	if err != nil {
		return err
	}
	cfg := guard.Uncounted(moto.Config(c.endpoint))
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
	if err := c.holdMappings(ctx, awslambda.NewFromConfig(cfg)); err != nil {
		return err
	}
	c.guard.SetMappingTime(c.MappingTime)
	if err := c.enforceRoles(); err != nil {
		return err
	}
	c.guard.SetInvoke(c.host.InvokeAsync)
	if c.IndexLag != nil {
		c.guard.SetIndexLag(c.IndexLag)
	}
	if c.nats, err = natsd.Start(nil); err != nil {
		return err
	}
	c.closers = append(c.closers, c.nats.Close)
	c.run(c.pollers(cfg, queues)...)
	api := gateway.Gateway{Routes: c.routes(), Invoke: c.host.Invoke, CORS: (*gateway.CORS)(c.stack.CORS)}
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
	if c.Endpoint != "" {
		c.guard.KeepDeletedMappings() // it may be LocalStack
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serving AWS: %w", err)
	}
	c.endpoint = "http://" + listener.Addr().String()
	c.serve(listener, c.guard)
	if c.BridgeAddress == "" {
		return nil
	}
	if listener, err = SamePort(listener, c.BridgeAddress); err != nil {
		return err
	}
	c.serve(listener, c.guard)
	return nil
}

// SamePort listens on the port of another listener, at another address of this
// machine.
func SamePort(as net.Listener, address string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(as.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("reading the address of a listener: %w", err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(address, port))
	if err != nil {
		return nil, fmt.Errorf("listening for containers: %w", err)
	}
	return listener, nil
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
		}
		if described.Environment != nil {
			f.Environment = described.Environment.Variables
		}
		if _, err := os.Stat(f.Binary); err != nil {
			return fmt.Errorf("%s has no binary: run `make build`: %w", logicalID, err)
		}
		concurrency, err := client.GetFunctionConcurrency(ctx, &awslambda.GetFunctionConcurrencyInput{FunctionName: &deployed.Name})
		if err != nil {
			return fmt.Errorf("reading the concurrency of %s: %w", logicalID, err)
		}
		f.Reserved = int(aws.ToInt32(concurrency.ReservedConcurrentExecutions))
		if err := setAsync(ctx, client, &f); err != nil {
			return fmt.Errorf("reading how %s is invoked asynchronously: %w", logicalID, err)
		}
		if deployed.Folder == "relay" && c.RelayTime > 0 {
			f.Timeout = c.RelayTime
		}
		c.functions[logicalID] = f
		c.host.Add(f, stack.Label(logicalID))
	}
	return nil
}

// setAsync sets how a function is invoked asynchronously. Settings that the template does
// not have keep Lambda's defaults.
func setAsync(ctx context.Context, client *awslambda.Client, f *lambda.Function) error {
	f.Retries, f.MaxAge = lambda.DefaultRetries, lambda.DefaultMaxAge
	config, err := client.GetFunctionEventInvokeConfig(ctx, &awslambda.GetFunctionEventInvokeConfigInput{FunctionName: &f.Name})
	if _, none := errors.AsType[*awslambdatypes.ResourceNotFoundException](err); none {
		return nil
	}
	if err != nil {
		return err
	}
	if config.MaximumRetryAttempts != nil {
		f.Retries = int(*config.MaximumRetryAttempts)
	}
	if config.MaximumEventAgeInSeconds != nil {
		f.MaxAge = time.Duration(*config.MaximumEventAgeInSeconds) * time.Second
	}
	if config.DestinationConfig != nil && config.DestinationConfig.OnFailure != nil {
		f.OnFailure = aws.ToString(config.DestinationConfig.OnFailure.Destination)
	}
	return nil
}

// holdTime is how long an emulator may take to make the mappings of a stack.
const holdTime = 30 * time.Second

// holdMappings makes the guard keep the template's mappings disabled in the emulator. It
// leaves mappings of functions from other stacks in the same emulator as they are.
func (c *Cloud) holdMappings(ctx context.Context, client *awslambda.Client) error {
	ctx, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	for pages := awslambda.NewListEventSourceMappingsPaginator(client, &awslambda.ListEventSourceMappingsInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("listing event source mappings: %w", err)
		}
		for _, mapping := range page.EventSourceMappings {
			if !c.host.Has(aws.ToString(mapping.FunctionArn)) {
				continue
			}
			if err := enable(ctx, client, mapping.UUID); err != nil {
				return fmt.Errorf("holding the event source mapping %s: %w", *mapping.UUID, err)
			}
		}
	}
	return nil
}

// enable enables a mapping as soon as the emulator is not busy with it.
func enable(ctx context.Context, client *awslambda.Client, uuid *string) error {
	for {
		_, err := client.UpdateEventSourceMapping(ctx, &awslambda.UpdateEventSourceMappingInput{UUID: uuid, Enabled: aws.Bool(true)})
		if _, busy := errors.AsType[*awslambdatypes.ResourceInUseException](err); !busy {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// enforceRoles makes the guard refuse requests that a function's role does not allow.
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
		c.account = where.AccountID
	}
	c.guard.SetRoles(place, roles)
	return nil
}

func (c *Cloud) pollers(cfg aws.Config, queues *sqs.Client) []func(context.Context) {
	deadLetter := func(ctx context.Context, arn, payload string) error {
		return lambda.SendToARN(ctx, queues, arn, payload)
	}
	schedules := &scheduler.Scheduler{
		Client: awsscheduler.NewFromConfig(cfg), Invoke: c.host.InvokeAsync, Serves: c.host.Has, DeadLetter: deadLetter, Now: c.Now,
	}
	mappings := mapping.Poller{
		Lambda: awslambda.NewFromConfig(cfg), Streams: dynamodbstreams.NewFromConfig(cfg),
		Queues: queues, Invoke: c.host.Invoke, Polls: c.guard.Polls, Report: c.guard.SetProcessingResult, DeadLetter: deadLetter, Serves: c.host.Has,
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

// APIURL returns the value for SCW_API_URL.
func (c *Cloud) APIURL() string { return c.apiURL }

// AWSConfig is the AWS configuration of the emulator.
func (c *Cloud) AWSConfig() aws.Config { return moto.Config(c.endpoint) }

// AWSEndpoint returns the value for AWS_ENDPOINT_URL.
func (c *Cloud) AWSEndpoint() string { return c.endpoint }

// Account is the ID of the emulator's AWS account.
func (c *Cloud) Account() string { return c.account }

// NATSURL returns the URL of the NATS server.
func (c *Cloud) NATSURL() string { return c.nats.URL() }

// Function returns the deployed function by the folder of its code. If the code is deployed
// more than once, it returns the function that has the folder's name.
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

// Invoke runs a function, by the folder of its code, and returns its answer.
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
