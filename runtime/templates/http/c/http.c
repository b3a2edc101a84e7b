/* One POST request over wasi:http: see http.h. This file belongs to your project: change it as you like. */

#include "http.h"

#include <stdio.h>
#include <string.h>

#include "klines.h"

enum { MAX_WRITE = 4096 };

/* The parts of a URL; `path` is empty, or begins with / or ?. */
typedef struct {
    bool plain;
    const char *host, *path;
} parts;

/* The cases of wasi:http/types.error-code, in their order. */
static const char *const reasons[] = {
    "DNS time-out", "DNS error", "destination not found", "destination unavailable", "destination IP prohibited",
    "destination IP unroutable", "connection refused", "connection terminated", "connection time-out",
    "connection read time-out", "connection write time-out", "connection limit reached", "TLS protocol error",
    "TLS certificate error", "TLS alert received", "request denied", "request length required", "request body size",
    "request method invalid", "request URI invalid", "request URI too long", "request header section size",
    "request header size", "request trailer section size", "request trailer size", "response incomplete",
    "response header section size", "response header size", "response body size", "response trailer section size",
    "response trailer size", "response transfer coding", "response content coding", "response time-out",
    "upgrade failed", "protocol error", "loop detected", "configuration error", "internal error",
};

/* Finds the parts of a URL that begins with its scheme. */
static parts split(const char *url) {
    bool plain = strncmp(url, "http://", 7) == 0;
    const char *host = url + (plain ? 7 : 8);
    return (parts){plain, host, host + strcspn(host, "/?")};
}

const char *http_check_url(const char *url) {
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
        return "does not begin with https:// or http://";
    }
    if (strlen(url) > HTTP_MAX_URL) {
        return "has more than 511 bytes";
    }
    for (const char *at = url; *at; at++) {
        if (*at == '#' || *at < '!' || *at > '~') {
            return "has a #, a blank or a character that is not ASCII";
        }
    }
    parts to = split(url);
    if (to.host == to.path || *to.host == ':') {
        return "has no host";
    }
    if (memchr(to.host, '@', (size_t)(to.path - to.host))) {
        return "has a login: put the header `authorization` into `allow.secrets`";
    }
    return NULL;
}

const char *http_origin(const char *url, char *buffer, size_t size) {
    if (http_check_url(url)) {
        snprintf(buffer, size, "an invalid URL");
    } else {
        snprintf(buffer, size, "%.*s", (int)(split(url).path - url), url);
    }
    return buffer;
}

/* Returns an error that names the origin of the URL. The longest reason has 40 bytes. */
static http_result failed(const char *url, const char *reason) {
    http_result result = {0};
    char origin[200];
    snprintf(result.error, sizeof result.error, "POST %s%s", http_origin(url, origin, sizeof origin), reason);
    return result;
}

static http_result refused(const char *url, wasi_http_types_error_code_t *code) {
    char reason[64] = ": ";
    if (code->tag < sizeof reasons / sizeof *reasons) {
        strcat(reason, reasons[code->tag]);
    }
    http_result result = failed(url, reason);
    if (code->tag == WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_DENIED ||
        code->tag == WASI_HTTP_TYPES_ERROR_CODE_DESTINATION_IP_PROHIBITED) {
        result = failed(url, " is not granted: see the log of klines");
        result.denied = true;
    }
    wasi_http_types_error_code_free(code);
    return result;
}

/* Makes the headers of the request. Returns NULL, or what is wrong with them. */
static const char *make_fields(size_t length, const http_header *headers, wasi_http_types_own_fields_t *fields) {
    char digits[24];
    snprintf(digits, sizeof digits, "%zu", length);
    const http_header own[] = {{"content-type", "application/json"}, {"content-length", digits}};
    wasi_http_types_tuple2_field_name_field_value_t pairs[HTTP_MAX_HEADERS + 2];
    size_t count = 0;
    for (; count < 2 || (headers && headers->name); count++) {
        if (count == sizeof pairs / sizeof *pairs) {
            return ": too many headers";
        }
        const http_header *header = count < 2 ? &own[count] : headers++;
        pairs[count].f0 = (kl_text){(uint8_t *)header->name, strlen(header->name)};
        pairs[count].f1 = (wasi_http_types_field_value_t){(uint8_t *)header->value, strlen(header->value)};
    }
    wasi_http_types_list_tuple2_field_name_field_value_t list = {pairs, count};
    wasi_http_types_header_error_t wrong;
    return wasi_http_types_static_fields_from_list(&list, fields, &wrong) ? NULL : ": a header is not valid";
}

/* Makes the request, which takes the headers. Returns NULL, or what is wrong with it. */
static const char *make_request(const char *url, wasi_http_types_own_fields_t fields,
                                wasi_http_types_own_outgoing_request_t *request) {
    parts to = split(url);
    char path[HTTP_MAX_URL + 2];
    snprintf(path, sizeof path, "%s%s", *to.path == '/' ? "" : "/", to.path);
    wasi_http_types_method_t method = {.tag = WASI_HTTP_TYPES_METHOD_POST};
    wasi_http_types_scheme_t scheme = {.tag = to.plain ? WASI_HTTP_TYPES_SCHEME_HTTP : WASI_HTTP_TYPES_SCHEME_HTTPS};
    kl_text authority = {(uint8_t *)to.host, (size_t)(to.path - to.host)}, query = {(uint8_t *)path, strlen(path)};
    *request = wasi_http_types_constructor_outgoing_request(fields);
    wasi_http_types_borrow_outgoing_request_t it = wasi_http_types_borrow_outgoing_request(*request);
    if (wasi_http_types_method_outgoing_request_set_method(it, &method) &&
        wasi_http_types_method_outgoing_request_set_scheme(it, &scheme) &&
        wasi_http_types_method_outgoing_request_set_authority(it, &authority) &&
        wasi_http_types_method_outgoing_request_set_path_with_query(it, &query)) {
        return NULL;
    }
    wasi_http_types_outgoing_request_drop_own(*request);
    return ": the URL is not valid";
}

/* Writes the body. An error is not reported here: the request has failed, and the response says why. */
static void write_body(wasi_http_types_own_outgoing_body_t body, const char *json, size_t length) {
    wasi_io_streams_own_output_stream_t stream;
    wasi_io_streams_stream_error_t closed;
    wasi_http_types_error_code_t code;
    bool whole = true;
    wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(body), &stream);
    for (size_t at = 0; whole && at < length; at += MAX_WRITE) {
        kline_consumer_list_u8_t part = {(uint8_t *)json + at, length - at < MAX_WRITE ? length - at : MAX_WRITE};
        wasi_io_streams_borrow_output_stream_t it = wasi_io_streams_borrow_output_stream(stream);
        whole = wasi_io_streams_method_output_stream_blocking_write_and_flush(it, &part, &closed);
        if (!whole) {
            wasi_io_streams_stream_error_free(&closed);
        }
    }
    wasi_io_streams_output_stream_drop_own(stream);
    if (!whole) {
        wasi_http_types_outgoing_body_drop_own(body);
    } else if (!wasi_http_types_static_outgoing_body_finish(body, NULL, &code)) {
        wasi_http_types_error_code_free(&code);
    }
}

/* Waits until the response is there; returns false if `over` is ready first. */
static bool wait_for_response(wasi_http_types_borrow_future_incoming_response_t pending, wasi_io_poll_own_pollable_t over) {
    wasi_io_poll_own_pollable_t ready = wasi_http_types_method_future_incoming_response_subscribe(pending);
    wasi_io_poll_borrow_pollable_t both[] = {wasi_io_poll_borrow_pollable(ready), wasi_io_poll_borrow_pollable(over)};
    wasi_io_poll_list_borrow_pollable_t list = {both, 2};
    kline_consumer_list_u32_t found;
    wasi_io_poll_poll(&list, &found);
    bool is_ready = false;
    for (size_t i = 0; i < found.len; i++) {
        is_ready = is_ready || found.ptr[i] == 0;
    }
    kline_consumer_list_u32_free(&found);
    wasi_io_poll_pollable_drop_own(ready);
    return is_ready;
}

/* Takes the response, which is there, and returns its status. */
static http_result take_response(const char *url, wasi_http_types_borrow_future_incoming_response_t pending) {
    wasi_http_types_result_result_own_incoming_response_error_code_void_t answer;
    wasi_http_types_method_future_incoming_response_get(pending, &answer);
    if (answer.val.ok.is_err) {
        return refused(url, &answer.val.ok.val.err);
    }
    wasi_http_types_own_incoming_response_t response = answer.val.ok.val.ok;
    wasi_http_types_borrow_incoming_response_t head = wasi_http_types_borrow_incoming_response(response);
    http_result result = {.status = wasi_http_types_method_incoming_response_status(head)};
    wasi_http_types_incoming_response_drop_own(response);
    return result;
}

/* Sends the request and waits for the response, for at most HTTP_TIMEOUT_MS. */
static http_result send_request(const char *url, wasi_http_types_own_outgoing_request_t request, const char *json) {
    wasi_http_types_own_outgoing_body_t body;
    wasi_http_types_method_outgoing_request_body(wasi_http_types_borrow_outgoing_request(request), &body);
    wasi_http_types_duration_t limit = HTTP_TIMEOUT_MS * 1000000ull;
    wasi_io_poll_own_pollable_t over = wasi_clocks_monotonic_clock_subscribe_duration(limit);
    wasi_http_types_own_request_options_t options = wasi_http_types_constructor_request_options();
    /* Without it, the time for a connection could exceed the limit while the body is written. */
    wasi_http_types_method_request_options_set_connect_timeout(wasi_http_types_borrow_request_options(options), &limit);
    wasi_http_types_own_future_incoming_response_t pending;
    wasi_http_types_error_code_t code;
    http_result result;
    if (wasi_http_outgoing_handler_handle(request, &options, &pending, &code)) {
        write_body(body, json, strlen(json));
        wasi_http_types_borrow_future_incoming_response_t it = wasi_http_types_borrow_future_incoming_response(pending);
        char late[64];
        snprintf(late, sizeof late, ": no response in %d ms", HTTP_TIMEOUT_MS);
        result = wait_for_response(it, over) ? take_response(url, it) : failed(url, late);
        wasi_http_types_future_incoming_response_drop_own(pending);
    } else {
        wasi_http_types_outgoing_body_drop_own(body);
        result = refused(url, &code);
    }
    wasi_io_poll_pollable_drop_own(over);
    return result;
}

http_result http_post(const char *url, const char *json, const http_header *headers) {
    http_result result = {0};
    const char *wrong = http_check_url(url);
    if (wrong) {
        snprintf(result.error, sizeof result.error, "the URL %s", wrong);
        return result;
    }
    wasi_http_types_own_fields_t fields;
    wasi_http_types_own_outgoing_request_t request;
    wrong = make_fields(strlen(json), headers, &fields);
    if (!wrong) {
        wrong = make_request(url, fields, &request);
    }
    return wrong ? failed(url, wrong) : send_request(url, request, json);
}
