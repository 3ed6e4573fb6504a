// Command operate is the operator's tool for a deployed stack:
//
//	go run ./infra/operate undeploy STACK
//	go run ./infra/operate restore [-key KEY -secrets RESOURCE] FROM TO
//
// undeploy deletes a stack and the mappings that the service has created, and names the
// resources that are retained. restore puts the rows of a restored table into a table of a
// stack.
//
// It uses the credentials and region of the AWS CLI. undeploy runs the SAM CLI.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

const usage = `usage:
  operate undeploy STACK
  operate restore [-key KEY -secrets trigger|container|namespace] FROM TO
`

func main() {
	if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "operate:", err)
		if _, misused := errors.AsType[usageError](err); misused {
			fmt.Fprint(os.Stderr, usage)
		}
		os.Exit(1)
	}
}

// usageError is a command line that cannot be understood.
type usageError string

func (e usageError) Error() string { return string(e) }

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 {
		return usageError("a command is missing")
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return fmt.Errorf("reading the AWS configuration: %w", err)
	}
	switch command, rest := args[0], args[1:]; command {
	case "undeploy":
		if len(rest) != 1 {
			return usageError("undeploy wants the name of one stack")
		}
		return newUndeploy(cfg, rest[0], in, out).run(ctx)
	case "restore":
		return restoreCommand(ctx, cfg, rest, out)
	default:
		return usageError("there is no command " + command)
	}
}

func newUndeploy(cfg aws.Config, stack string, in io.Reader, out io.Writer) undeploy {
	return undeploy{
		stack: stack, cloudFormation: cloudformation.NewFromConfig(cfg), functions: lambda.NewFromConfig(cfg),
		tables: dynamodb.NewFromConfig(cfg),
		confirm: func() bool {
			fmt.Fprintf(out, "This deletes the stack %s in %s. Type its name to go on: ", stack, cfg.Region)
			line, _ := bufio.NewReader(in).ReadString('\n') // an end without a line is a no
			return strings.TrimSpace(line) == stack
		},
		deleteStack: func(ctx context.Context) error {
			sam := exec.CommandContext(ctx, "sam", "delete", "--stack-name", stack, "--region", cfg.Region, "--no-prompts")
			sam.Stdout, sam.Stderr = out, os.Stderr
			return sam.Run()
		},
		out: out, pause: time.Second,
	}
}

func restoreCommand(ctx context.Context, cfg aws.Config, args []string, out io.Writer) error {
	r := restore{tables: dynamodb.NewFromConfig(cfg), keys: kms.NewFromConfig(cfg), out: out}
	flags := flag.NewFlagSet("restore", flag.ContinueOnError)
	flags.StringVar(&r.key, "key", "", "the KMS `key` of the stack, if the rows come from another stack")
	flags.StringVar(&r.resource, "secrets", "", "the `resource` whose secrets are in the table, with -key: trigger, container or namespace")
	flags.SetOutput(io.Discard) // main tells what is wrong, once
	if err := flags.Parse(args); err != nil {
		return usageError(err.Error())
	}
	if flags.NArg() != 2 {
		return usageError("restore wants the names of two tables")
	}
	if (r.key == "") != (r.resource == "") {
		return usageError("-key and -secrets go together")
	}
	r.from, r.to = flags.Arg(0), flags.Arg(1)
	return r.run(ctx)
}
