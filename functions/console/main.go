// Command console serves the console: the page that shows triggers and their runs. The page
// is a client of the API like any other. The function needs no key and reads no table.
package main

import (
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/platform/awsconfig"
)

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	handler, err := newHandler(awsconfig.Settings[httpapi.Settings]())
	if err != nil {
		awsconfig.Fatal(err)
	}
	lambda.Start(handler)
}
