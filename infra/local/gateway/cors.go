package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// CORS is the API's CORS configuration. If there is one, API Gateway answers preflight
// requests itself. It adds its headers to the functions' answers and drops the functions'
// own (API Gateway Developer Guide, "Configure CORS for HTTP APIs").
type CORS struct {
	AllowOrigins, AllowMethods, AllowHeaders []string
	// ExposeHeaders are the headers of answers that pages may read.
	ExposeHeaders []string
	// MaxAge is the time in seconds for which browsers keep the answer to a preflight
	// request.
	MaxAge int
}

// allow adds the headers with which a page of an allowed origin may use the answer.
func (c CORS) allow(header http.Header, r *http.Request) {
	origin := r.Header.Get("Origin")
	if !slices.Contains(c.AllowOrigins, origin) {
		return
	}
	header.Set("Access-Control-Allow-Origin", origin)
	header.Set("Access-Control-Expose-Headers", strings.Join(c.ExposeHeaders, ","))
	if preflight(r) {
		header.Set("Access-Control-Allow-Methods", strings.Join(c.AllowMethods, ","))
		header.Set("Access-Control-Allow-Headers", strings.Join(c.AllowHeaders, ","))
		header.Set("Access-Control-Max-Age", strconv.Itoa(c.MaxAge))
	}
}

// preflight reports whether a browser asks if it may send a request.
func preflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}
