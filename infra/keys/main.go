// Command keys is the operator's tool for API keys:
//
//	go run ./infra/keys create -organization UUID [-project UUID]... [flags]
//	go run ./infra/keys list
//	go run ./infra/keys revoke ACCESS_KEY
//
// It uses the table that KEYS_TABLE names, and the credentials and region of the AWS CLI.
// It prints a secret key once, on create. The table holds only the key's hash.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"containertriggers/shared/aws/store"
	"containertriggers/shared/contract/request"
	"containertriggers/shared/domain/auth"
)

const usage = `usage:
  keys create -organization UUID [-project UUID]... [-permissions ContainersReadOnly|ContainersFullAccess]
              [-default-project UUID] [-expires 720h] [-description TEXT]
  keys list
  keys revoke ACCESS_KEY

KEYS_TABLE names the table; see the outputs of the deployed stack.
`

func main() {
	if err := run(context.Background(), os.Args[1:], os.Getenv("KEYS_TABLE"), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "keys:", err)
		if _, misused := errors.AsType[usageError](err); misused {
			fmt.Fprint(os.Stderr, usage)
		}
		os.Exit(1)
	}
}

// usageError is the error of a command line.
type usageError string

func (e usageError) Error() string { return string(e) }

func run(ctx context.Context, args []string, tableName string, out io.Writer) error {
	if len(args) == 0 {
		return usageError("a command is missing")
	}
	if tableName == "" {
		return errors.New("KEYS_TABLE is not set: it names the table, see the outputs of the deployed stack")
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return fmt.Errorf("reading the AWS configuration: %w", err)
	}
	keys := store.Keys{Client: dynamodb.NewFromConfig(cfg), Table: tableName}

	switch command, rest := args[0], args[1:]; command {
	case "create":
		return create(ctx, keys, rest, time.Now(), out)
	case "list":
		return list(ctx, keys, out)
	case "revoke":
		if len(rest) != 1 {
			return usageError("revoke wants one access key")
		}
		return revoke(ctx, keys, rest[0], out)
	default:
		return usageError("there is no command " + command)
	}
}

// create creates a key and prints it as the environment variables of stock clients.
func create(ctx context.Context, keys store.Keys, args []string, now time.Time, out io.Writer) error {
	var (
		caller      auth.Principal
		description string
		lifetime    time.Duration
	)
	flags := flag.NewFlagSet("create", flag.ContinueOnError)
	flags.Func("organization", "the organization's `UUID`", uuidInto(&caller.OrganizationID))
	flags.Func("project", "a project's `UUID` that the key is limited to; may be repeated", func(text string) error {
		var project string
		err := uuidInto(&project)(text)
		caller.ProjectIDs = append(caller.ProjectIDs, project)
		return err
	})
	flags.Func("default-project", "the `UUID` of the project of containers that name none (the first project, or the organization's own)", uuidInto(&caller.DefaultProjectID))
	permissions := flags.String("permissions", string(auth.FullAccess), "the permission set: ContainersReadOnly or ContainersFullAccess")
	flags.StringVar(&description, "description", "", "what the key is for")
	flags.DurationVar(&lifetime, "expires", 0, "for how long the key works (for ever)")
	flags.SetOutput(io.Discard) // main tells what is wrong, once
	if err := flags.Parse(args); err != nil {
		return usageError(err.Error())
	}
	caller.PermissionSet = auth.PermissionSet(*permissions)
	switch {
	case flags.NArg() > 0:
		return usageError("there is no argument " + flags.Arg(0))
	case caller.OrganizationID == "":
		return usageError("-organization is missing")
	case caller.PermissionSet != auth.ReadOnly && caller.PermissionSet != auth.FullAccess:
		return fmt.Errorf("there is no permission set %q", *permissions)
	case lifetime < 0:
		return errors.New("-expires must not be negative")
	}
	if caller.DefaultProjectID == "" {
		// An organization's default project has the organization's ID, as in the
		// original API.
		caller.DefaultProjectID = caller.OrganizationID
		if len(caller.ProjectIDs) > 0 {
			caller.DefaultProjectID = caller.ProjectIDs[0]
		}
	} else if !caller.CanRead(caller.OrganizationID, caller.DefaultProjectID) {
		return errors.New("-default-project must be one of the key's projects")
	}
	var expires time.Time
	if lifetime > 0 {
		expires = now.Add(lifetime)
	}

	key, secret := auth.NewKey(caller, description, now, expires)
	if err := keys.Create(ctx, key); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, `export SCW_ACCESS_KEY=%s
export SCW_SECRET_KEY=%s
export SCW_DEFAULT_ORGANIZATION_ID=%s
export SCW_DEFAULT_PROJECT_ID=%s
`, key.AccessKey, string(secret), key.OrganizationID, key.DefaultProjectID)
	return err
}

func uuidInto(target *string) func(string) error {
	return func(text string) error {
		canonical, ok := request.CanonicalUUID(text)
		if !ok {
			return fmt.Errorf("%q is not a UUID", text)
		}
		*target = canonical
		return nil
	}
}

func list(ctx context.Context, keys store.Keys, out io.Writer) error {
	all, err := keys.All(ctx)
	if err != nil {
		return err
	}
	lines := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(lines, "ACCESS KEY\tORGANIZATION\tPROJECTS\tPERMISSIONS\tEXPIRES\tDESCRIPTION")
	for _, key := range all {
		projects, expires := "all", "never"
		if key.ProjectIDs != nil {
			projects = strings.Join(key.ProjectIDs, ",")
		}
		if !key.ExpiresAt.IsZero() {
			expires = key.ExpiresAt.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(lines, "%s\t%s\t%s\t%s\t%s\t%s\n",
			key.AccessKey, key.OrganizationID, projects, key.PermissionSet, expires, key.Description)
	}
	return lines.Flush()
}

// revoke deletes a key. Functions that have cached it accept it for up to a minute.
func revoke(ctx context.Context, keys store.Keys, accessKey string, out io.Writer) error {
	all, err := keys.All(ctx)
	if err != nil {
		return err
	}
	for _, key := range all {
		if key.AccessKey == accessKey {
			if err := keys.Revoke(ctx, key.SecretHash); err != nil {
				return err
			}
			_, err := fmt.Fprintf(out, "%s is revoked; it works for a minute more at most\n", accessKey)
			return err
		}
	}
	return fmt.Errorf("there is no key %s", accessKey)
}
