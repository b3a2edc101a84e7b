// Package http sends blocking HTTP requests: http.Post(url, value, headers).
//
// It belongs to your project: change it as you like. `http = true` in consumer.toml generates the packages wasi_http_types
// and wasi_http_outgoing_handler, which have the other methods too.
package http

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	wit "go.bytecodealliance.org/pkg/wit/types"
	"wit_component/wasi_http_outgoing_handler"
	wasi "wit_component/wasi_http_types"
)

// Timeout limits the time for the connection, and again for the response: a call of a consumer may take 1 s in all.
var Timeout = 400 * time.Millisecond

// ErrDenied means that the operator has not granted the request. The log of klines shows the line that would grant it.
var ErrDenied = errors.New("is not granted: see the log of klines")

// Header has the headers of a request. Do not put secrets there: the operator names them in allow.secrets, and klines adds
// them to the request.
type Header map[string]string

// Post posts a value as JSON, waits for the response, and returns its status; an error if there is no response.
func Post(target string, value any, headers Header) (int, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return 0, err
	}
	request, err := newRequest(target, len(body), headers)
	if err != nil {
		return 0, err
	}
	outgoing := request.Body().Ok()
	limit := wit.Some(uint64(Timeout))
	options := wasi.MakeRequestOptions()
	options.SetConnectTimeout(limit)
	options.SetFirstByteTimeout(limit)
	sent := wasi_http_outgoing_handler.Handle(request, wit.Some(options))
	if sent.IsErr() {
		outgoing.Drop()
		return 0, failed(target, sent.Err())
	}
	pending := sent.Ok()
	defer pending.Drop()
	write(outgoing, body)
	ready := pending.Subscribe()
	ready.Block()
	ready.Drop()
	answer := pending.Get().Some().Ok()
	if answer.IsErr() {
		return 0, failed(target, answer.Err())
	}
	response := answer.Ok()
	defer response.Drop()
	return int(response.Status()), nil
}

func newRequest(target string, length int, headers Header) (*wasi.OutgoingRequest, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, err
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
		return nil, fmt.Errorf("POST %s: a header is not valid", target)
	}
	scheme := wasi.MakeSchemeHttps()
	if to.Scheme == "http" {
		scheme = wasi.MakeSchemeHttp()
	}
	request := wasi.MakeOutgoingRequest(list.Ok())
	if request.SetMethod(wasi.MakeMethodPost()).IsErr() || request.SetScheme(wit.Some(scheme)).IsErr() ||
		request.SetAuthority(wit.Some(to.Host)).IsErr() || request.SetPathWithQuery(wit.Some(to.RequestURI())).IsErr() {
		request.Drop()
		return nil, fmt.Errorf("POST %s: the URL is not valid", target)
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

func failed(target string, code wasi.ErrorCode) error {
	switch code.Tag() {
	case wasi.ErrorCode_HttpRequestDenied, wasi.ErrorCode_DestinationIpProhibited:
		return fmt.Errorf("POST %s %w", target, ErrDenied)
	}
	return fmt.Errorf("POST %s: %s", target, reasons[code.Tag()])
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
