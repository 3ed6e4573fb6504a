// Command default-route answers the requests that no other function handles. It answers the
// deployment's metadata, and an error for every other path. It needs no key and reads no
// table.
package main

import (
	"github.com/aws/aws-lambda-go/lambda"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/platform/awsconfig"
	"containertriggers/shared/platform/logs"
)

func main() {
	logs.Start()
	lambda.Start(newHandler(awsconfig.Settings[httpapi.Settings]()))
}
