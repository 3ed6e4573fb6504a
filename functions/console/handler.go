package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-lambda-go/events"

	"containertriggers/shared/api/httpapi"
	"containertriggers/shared/contract/apierr"
)

//go:embed static
var static embed.FS

// page is the file that is served at the root. The others are served under a path that has
// the hash of all of them.
const page = "index.html"

// contentTypes has the types of the files by their extension.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
}

// security has headers that every answer has. The page loads and calls nothing but this
// deployment, no other page may frame it, and a script that someone injects does not run.
var security = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
	"Referrer-Policy":         "no-referrer",
	"X-Content-Type-Options":  "nosniff",
}

// newHandler returns the handler that serves the files of the console. The error means that a
// file cannot be served.
func newHandler(settings httpapi.Settings) (httpapi.Handler, error) {
	files, err := read()
	if err != nil {
		return nil, err
	}
	version := hash(files)
	index, err := fill(files[page], version, settings.Regions)
	if err != nil {
		return nil, err
	}
	delete(files, page)
	notFound := httpapi.Answer(func(_ context.Context, event events.APIGatewayV2HTTPRequest) (any, error) {
		return nil, apierr.NotFound("path", event.RawPath)
	})
	return func(ctx context.Context, event events.APIGatewayV2HTTPRequest) (events.APIGatewayV2HTTPResponse, error) {
		name, text, age := page, index, "no-cache"
		if asked, ok := event.PathParameters["file"]; ok {
			// A page that was loaded before a deployment has loaded its files, too.
			if name, text, age = asked, files[asked], "public, max-age=31536000, immutable"; text == "" || event.PathParameters["version"] != version {
				return notFound(ctx, event)
			}
		}
		response := httpapi.Text(event, contentTypes[path.Ext(name)], text)
		maps.Copy(response.Headers, security)
		response.Headers["Cache-Control"] = age
		if event.RequestContext.HTTP.Method == http.MethodHead {
			response.Body = ""
		}
		return response, nil
	}, nil
}

// read returns the embedded files by their names.
func read() (map[string]string, error) {
	files := map[string]string{}
	err := fs.WalkDir(static, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if contentTypes[path.Ext(name)] == "" {
			return fmt.Errorf("%s: its content type is not known", name)
		}
		text, err := static.ReadFile(name)
		files[path.Base(name)] = string(text)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the console: %w", err)
	}
	return files, nil
}

// hash returns a version that changes if a file changes.
func hash(files map[string]string) string {
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(all, "%s %d\n%s", name, len(files[name]), files[name])
	}
	return hex.EncodeToString(all.Sum(nil)[:8])
}

// fill puts the version of the files and the regions that are served into the page.
func fill(text, version string, regions []string) (string, error) {
	parsed, err := template.New(page).Parse(text)
	if err != nil {
		return "", fmt.Errorf("reading the page: %w", err)
	}
	var filled bytes.Buffer
	if err := parsed.Execute(&filled, map[string]string{"Version": version, "Regions": strings.Join(regions, ",")}); err != nil {
		return "", fmt.Errorf("writing the page: %w", err)
	}
	return filled.String(), nil
}
