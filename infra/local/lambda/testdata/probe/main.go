// Command probe is a function that does what its event says.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

func main() {
	if os.Getenv("BREAK") == "init" {
		fmt.Println("cannot start")
		os.Exit(3)
	}
	calls := 0
	lambda.Start(func(ctx context.Context, what string) (string, error) {
		calls++
		run, _ := lambdacontext.FromContext(ctx)
		switch what {
		case "environment":
			return strings.Join(os.Environ(), "\n"), nil
		case "count":
			return fmt.Sprint(calls), nil
		case "id":
			fmt.Println("id " + run.AwsRequestID)
			return "", errors.New("no")
		case "crash":
			fmt.Println("last words")
			os.Exit(7)
		case "sleep":
			<-ctx.Done()
			select {}
		case "huge":
			return strings.Repeat("x", 7<<20), nil
		}
		return run.InvokedFunctionArn, nil
	})
}
