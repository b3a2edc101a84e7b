/* Blocking HTTP requests. `http = true` in consumer.toml generates the functions of wasi:http, which http.c uses. */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>

/* The time limit of a whole request in milliseconds: a call may take 1 s in all. */
enum { HTTP_TIMEOUT_MS = 800 };
/* The most headers of a request, and the most bytes of a URL. */
enum { HTTP_MAX_HEADERS = 30, HTTP_MAX_URL = 511 };

typedef struct {
    const char *name, *value;
} http_header;

typedef struct {
    /* The status of the response; 0 if there is none. */
    int status;
    /* If there is none: the reason, and whether it is that the operator has not granted the request. */
    char error[256];
    bool denied;
} http_result;

/* Returns what is wrong with a URL, without the URL itself; NULL if http_post accepts it. Call it when you read your
 * settings, so that `klines check` reports a wrong URL. */
const char *http_check_url(const char *url);

/* Writes the scheme and the host of a URL, such as https://hooks.example.com, to the buffer, and returns the buffer. Use
 * it in logs and errors: the path can be secret. Of a URL that http_check_url refuses, it writes "an invalid URL". */
const char *http_origin(const char *url, char *buffer, size_t size);

/* Posts a JSON text and waits for the response. `headers` ends with a name that is NULL. Do not put secrets there: the
 * operator names them in allow.secrets, and klines adds them to the request. */
http_result http_post(const char *url, const char *json, const http_header *headers);

#endif
