package request_test

import (
	"encoding/json"
	"fmt"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
)

// A function reads a request field by field. The faults are collected, so that one answer
// names all of them.
func Example() {
	var faults apierr.Arguments
	object := request.Parse([]byte(`{"name":"", "tags":"a", "nats_config":{"server_urls":["http://n"]}}`), &faults)
	if name := object.String("name"); name != nil {
		request.Name(&faults, "name", *name)
	}
	if tags := object.Strings("tags"); tags != nil {
		request.Tags(&faults, "tags", *tags)
	}
	if nats, ok := object.Object("nats_config"); ok {
		for _, url := range *nats.Strings("server_urls") {
			request.URL(&faults, "nats_config.server_urls", url, "nats", "tls")
		}
	}
	request.Required(&faults, "container_id", object.String("container_id"))

	answer, err := json.MarshalIndent(apierr.From(faults.Err()).Details, "", " ")
	fmt.Println(string(answer), err)
	// Output:
	// [
	//  {
	//   "argument_name": "name",
	//   "reason": "constraint",
	//   "help_message": "name must have 1 to 128 characters"
	//  },
	//  {
	//   "argument_name": "tags",
	//   "reason": "format",
	//   "help_message": "tags must be a list of strings"
	//  },
	//  {
	//   "argument_name": "nats_config.server_urls",
	//   "reason": "format",
	//   "help_message": "nats_config.server_urls must be a URL that begins with nats:// or tls://"
	//  },
	//  {
	//   "argument_name": "container_id",
	//   "reason": "required",
	//   "help_message": "container_id is required"
	//  }
	// ] <nil>
}
