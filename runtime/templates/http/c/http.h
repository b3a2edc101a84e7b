/* Blocking HTTP requests. `http = true` in consumer.toml generates the functions of wasi:http, which http.c uses. */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>

/* The time limit in milliseconds for the connection and again for the response: a call may take 1 s in all. */
enum { HTTP_TIMEOUT_MS = 400 };

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

/* Posts a JSON text and waits for the response. `headers` ends with a name that is NULL. Do not put secrets there: the
 * operator names them in allow.secrets, and klines adds them to the request. */
http_result http_post(const char *url, const char *json, const http_header *headers);

#endif
