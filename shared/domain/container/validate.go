package container

import (
	"net/url"
	"strings"

	"containertriggers/shared/contract/apierr"
	"containertriggers/shared/contract/request"
)

// checkImage returns the image. It adds a fault unless the image is a URL, because the
// service runs no images and needs the URL of the running container.
func checkImage(faults *apierr.Arguments, image string, rules Rules) string {
	if !strings.HasPrefix(image, "https://") && !strings.HasPrefix(image, "http://") {
		faults.Add("image", apierr.Format,
			"must be the URL of a running container, such as https://jobs.example.com, because this service does not pull or run images")
	}
	return checkEndpoint(faults, "image", image, rules)
}

// checkEndpoint returns the endpoint. It adds a fault unless the endpoint is a URL without
// a query string. A call appends the path and query of its trigger.
func checkEndpoint(faults *apierr.Arguments, argument, endpoint string, rules Rules) string {
	request.URL(faults, argument, endpoint, rules.schemes()...)
	if parsed, err := url.Parse(endpoint); err == nil && (parsed.RawQuery != "" || parsed.ForceQuery) {
		faults.Add(argument, apierr.Constraint, "must not contain a query string (?…); set it in the destination_config.http_path of a trigger")
	}
	return endpoint
}
