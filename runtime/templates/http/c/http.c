/* One POST request over wasi:http: see http.h. This file belongs to your project: change it as you like. */

#include "http.h"

#include <stdio.h>
#include <string.h>

#include "klines.h"

enum { MAX_HEADERS = 32, MAX_WRITE = 4096 };

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

static http_result failed(const char *url, const char *reason) {
    http_result result = {0};
    snprintf(result.error, sizeof result.error, "POST %.150s%s", url, reason);
    return result;
}

static http_result refused(const char *url, wasi_http_types_error_code_t *code) {
    http_result result = failed(url, ": ");
    if (code->tag < sizeof reasons / sizeof *reasons) {
        strcat(result.error, reasons[code->tag]);
    }
    if (code->tag == WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_DENIED ||
        code->tag == WASI_HTTP_TYPES_ERROR_CODE_DESTINATION_IP_PROHIBITED) {
        result = failed(url, " is not granted: see the log of klines");
        result.denied = true;
    }
    wasi_http_types_error_code_free(code);
    return result;
}

/* Makes the request; returns false if the host refuses a header or a part of the URL. */
static bool make(const char *url, size_t length, const http_header *headers,
                 wasi_http_types_own_outgoing_request_t *request) {
    char digits[24];
    snprintf(digits, sizeof digits, "%zu", length);
    const http_header own[] = {{"content-type", "application/json"}, {"content-length", digits}};
    wasi_http_types_tuple2_field_name_field_value_t pairs[MAX_HEADERS];
    size_t count = 0;
    for (; count < 2 || (headers && headers->name && count < MAX_HEADERS); count++) {
        const http_header *header = count < 2 ? &own[count] : headers++;
        pairs[count].f0 = (kl_text){(uint8_t *)header->name, strlen(header->name)};
        pairs[count].f1 = (wasi_http_types_field_value_t){(uint8_t *)header->value, strlen(header->value)};
    }
    wasi_http_types_list_tuple2_field_name_field_value_t list = {pairs, count};
    wasi_http_types_own_fields_t fields;
    wasi_http_types_header_error_t wrong;
    bool plain = strncmp(url, "http://", 7) == 0;
    if ((!plain && strncmp(url, "https://", 8) != 0) ||
        !wasi_http_types_static_fields_from_list(&list, &fields, &wrong)) {
        return false;
    }
    const char *host = url + (plain ? 7 : 8), *path = host + strcspn(host, "/?#");
    char target[1024];
    snprintf(target, sizeof target, "%s%.*s", *path == '/' ? "" : "/", (int)strcspn(path, "#"), path);
    wasi_http_types_method_t method = {.tag = WASI_HTTP_TYPES_METHOD_POST};
    wasi_http_types_scheme_t scheme = {.tag = plain ? WASI_HTTP_TYPES_SCHEME_HTTP : WASI_HTTP_TYPES_SCHEME_HTTPS};
    kl_text authority = {(uint8_t *)host, (size_t)(path - host)}, query = {(uint8_t *)target, strlen(target)};
    *request = wasi_http_types_constructor_outgoing_request(fields);
    wasi_http_types_borrow_outgoing_request_t it = wasi_http_types_borrow_outgoing_request(*request);
    if (wasi_http_types_method_outgoing_request_set_method(it, &method) &&
        wasi_http_types_method_outgoing_request_set_scheme(it, &scheme) &&
        wasi_http_types_method_outgoing_request_set_authority(it, &authority) &&
        wasi_http_types_method_outgoing_request_set_path_with_query(it, &query)) {
        return true;
    }
    wasi_http_types_outgoing_request_drop_own(*request);
    return false;
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

http_result http_post(const char *url, const char *json, const http_header *headers) {
    size_t length = strlen(json);
    wasi_http_types_own_outgoing_request_t request;
    if (!make(url, length, headers, &request)) {
        return failed(url, ": the URL or a header is not valid");
    }
    wasi_http_types_own_outgoing_body_t body;
    wasi_http_types_method_outgoing_request_body(wasi_http_types_borrow_outgoing_request(request), &body);
    wasi_http_types_duration_t limit = HTTP_TIMEOUT_MS * 1000000ull;
    wasi_http_types_own_request_options_t options = wasi_http_types_constructor_request_options();
    wasi_http_types_borrow_request_options_t limits = wasi_http_types_borrow_request_options(options);
    wasi_http_types_method_request_options_set_connect_timeout(limits, &limit);
    wasi_http_types_method_request_options_set_first_byte_timeout(limits, &limit);
    wasi_http_types_own_future_incoming_response_t pending;
    wasi_http_types_error_code_t code;
    if (!wasi_http_outgoing_handler_handle(request, &options, &pending, &code)) {
        wasi_http_types_outgoing_body_drop_own(body);
        return refused(url, &code);
    }
    write_body(body, json, length);
    wasi_http_types_borrow_future_incoming_response_t it = wasi_http_types_borrow_future_incoming_response(pending);
    wasi_io_poll_own_pollable_t ready = wasi_http_types_method_future_incoming_response_subscribe(it);
    wasi_io_poll_method_pollable_block(wasi_io_poll_borrow_pollable(ready));
    wasi_io_poll_pollable_drop_own(ready);
    wasi_http_types_result_result_own_incoming_response_error_code_void_t answer;
    wasi_http_types_method_future_incoming_response_get(it, &answer);
    wasi_http_types_future_incoming_response_drop_own(pending);
    if (answer.val.ok.is_err) {
        return refused(url, &answer.val.ok.val.err);
    }
    wasi_http_types_own_incoming_response_t response = answer.val.ok.val.ok;
    wasi_http_types_borrow_incoming_response_t head = wasi_http_types_borrow_incoming_response(response);
    http_result result = {.status = wasi_http_types_method_incoming_response_status(head)};
    wasi_http_types_incoming_response_drop_own(response);
    return result;
}
