// Command console serves the console: the page that shows triggers and their runs. The page
// is a client of the API like any other. The function needs no key and reads no table.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/platform/awsconfig"
	"containertriggers/shared/platform/logs"
)

func main() {
	logs.Start()
	handler, err := newHandler(awsconfig.Settings[httpapi.Settings]())
	if err != nil {
		awsconfig.Fatal(err)
	}
	lambda.Start(handler)
}
