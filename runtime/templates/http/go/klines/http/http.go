// Package http sends blocking HTTP requests: http.Post(url, value, headers).
//
// It belongs to your project: change it as you like. `http = true` in consumer.toml generates the packages wasi_http_types
// and wasi_http_outgoing_handler, which have the other methods too.
package http

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	wit "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/wasi_clocks_monotonic_clock"
	"wit_component/wasi_http_outgoing_handler"
	wasi "wit_component/wasi_http_types"
	"wit_component/wasi_io_poll"
)

// Timeout limits the time of a whole request: a call of a consumer may take 1 s in all.
var Timeout = 800 * time.Millisecond

// ErrDenied means that the operator has not granted the request. The log of klines shows the line that would grant it.
var ErrDenied = errors.New("is not granted: see the log of klines")

// Header has the headers of a request. Do not put secrets there: the operator names them in allow.secrets, and klines adds
// them to the request.
type Header map[string]string

// CheckURL returns an error that says what is wrong with a URL, without the URL itself; nil if Post accepts it. Call it in
// Setup of your consumer, so that `klines check` reports a wrong URL.
func CheckURL(url string) error {
	_, _, _, err := split(url)
	return err
}

// Origin returns the scheme and the host of a URL, such as https://hooks.example.com, for logs and errors: the path can be
// secret. Of a URL that CheckURL refuses, it returns "an invalid URL".
func Origin(url string) string {
	scheme, authority, _, err := split(url)
	if err != nil {
		return "an invalid URL"
	}
	return scheme + "://" + authority
}

// split returns the scheme, the host with the port, and the path with the query of a URL.
func split(url string) (scheme, authority, path string, err error) {
	scheme, rest, found := strings.Cut(url, "://")
	if !found || (scheme != "http" && scheme != "https") {
		return "", "", "", errors.New("does not begin with https:// or http://")
	}
	isWrong := func(found rune) bool { return found == '#' || found < '!' || found > '~' }
	if strings.ContainsFunc(url, isWrong) {
		return "", "", "", errors.New("has a #, a blank or a character that is not ASCII")
	}
	authority = rest
	if at := strings.IndexAny(rest, "/?"); at >= 0 {
		authority, path = rest[:at], rest[at:]
	}
	if authority == "" || authority[0] == ':' {
		return "", "", "", errors.New("has no host")
	}
	if strings.Contains(authority, "@") {
		return "", "", "", errors.New("has a login: put the header `authorization` into `allow.secrets`")
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return scheme, authority, path, nil
}

// Post posts a value as JSON, waits for the response, and returns its status; an error if there is no response.
func Post(url string, value any, headers Header) (int, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return 0, err
	}
	request, err := newRequest(url, len(body), headers)
	if err != nil {
		return 0, err
	}
	outgoing := request.Body().Ok()
	limit := uint64(Timeout)
	over := wasi_clocks_monotonic_clock.SubscribeDuration(limit)
	defer over.Drop()
	options := wasi.MakeRequestOptions()
	// Without it, the time for a connection could exceed the limit while the body is written.
	options.SetConnectTimeout(wit.Some(limit))
	sent := wasi_http_outgoing_handler.Handle(request, wit.Some(options))
	if sent.IsErr() {
		outgoing.Drop()
		return 0, failed(url, sent.Err())
	}
	pending := sent.Ok()
	defer pending.Drop()
	write(outgoing, body)
	ready := pending.Subscribe()
	defer ready.Drop()
	if !slices.Contains(wasi_io_poll.Poll([]*wasi_io_poll.Pollable{ready, over}), 0) {
		return 0, fmt.Errorf("POST %s: no response in %d ms", Origin(url), Timeout.Milliseconds())
	}
	answer := pending.Get().Some().Ok()
	if answer.IsErr() {
		return 0, failed(url, answer.Err())
	}
	response := answer.Ok()
	defer response.Drop()
	return int(response.Status()), nil
}

func newRequest(url string, length int, headers Header) (*wasi.OutgoingRequest, error) {
	scheme, authority, path, err := split(url)
	if err != nil {
		return nil, fmt.Errorf("the URL %w", err)
	}
	fields := []wit.Tuple2[string, []byte]{
		{F0: "content-type", F1: []byte("application/json")},
		{F0: "content-length", F1: []byte(strconv.Itoa(length))},
	}
	for name, text := range headers {
		fields = append(fields, wit.Tuple2[string, []byte]{F0: name, F1: []byte(text)})
	}
	list := wasi.FieldsFromList(fields)
	if list.IsErr() {
		return nil, fmt.Errorf("POST %s: a header is not valid", Origin(url))
	}
	kind := wasi.MakeSchemeHttps()
	if scheme == "http" {
		kind = wasi.MakeSchemeHttp()
	}
	request := wasi.MakeOutgoingRequest(list.Ok())
	if request.SetMethod(wasi.MakeMethodPost()).IsErr() || request.SetScheme(wit.Some(kind)).IsErr() ||
		request.SetAuthority(wit.Some(authority)).IsErr() || request.SetPathWithQuery(wit.Some(path)).IsErr() {
		request.Drop()
		return nil, fmt.Errorf("POST %s: the URL is not valid", Origin(url))
	}
	return request, nil
}

// write writes the body. It reports no error: if the request has failed, the response says why.
func write(outgoing *wasi.OutgoingBody, body []byte) {
	stream := outgoing.Write().Ok()
	for len(body) > 0 {
		// The host accepts 4096 bytes at once.
		part := body[:min(len(body), 4096)]
		if written := stream.BlockingWriteAndFlush(part); written.IsErr() {
			stream.Drop()
			outgoing.Drop()
			return
		}
		body = body[len(part):]
	}
	stream.Drop()
	wasi.OutgoingBodyFinish(outgoing, wit.None[*wasi.Fields]())
}

func failed(url string, code wasi.ErrorCode) error {
	switch code.Tag() {
	case wasi.ErrorCode_HttpRequestDenied, wasi.ErrorCode_DestinationIpProhibited:
		return fmt.Errorf("POST %s %w", Origin(url), ErrDenied)
	}
	return fmt.Errorf("POST %s: %s", Origin(url), reasons[code.Tag()])
}

// The cases of wasi:http/types.error-code, in their order.
var reasons = [...]string{
	"DNS time-out", "DNS error", "destination not found", "destination unavailable", "destination IP prohibited",
	"destination IP unroutable", "connection refused", "connection terminated", "connection time-out",
	"connection read time-out", "connection write time-out", "connection limit reached", "TLS protocol error",
	"TLS certificate error", "TLS alert received", "request denied", "request length required", "request body size",
	"request method invalid", "request URI invalid", "request URI too long", "request header section size",
	"request header size", "request trailer section size", "request trailer size", "response incomplete",
	"response header section size", "response header size", "response body size", "response trailer section size",
	"response trailer size", "response transfer coding", "response content coding", "response time-out",
	"upgrade failed", "protocol error", "loop detected", "configuration error", "internal error",
}
