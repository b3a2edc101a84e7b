/* A consumer of klines: it posts an alert to a webhook when a closed kline has moved far. */

#include <stdio.h>
#include <stdlib.h>

#include "http.h"
#include "klines.h"

enum { MAX_ALERT = 96, MAX_KEY = 128 };

/* The settings of [consumers.{{name}}.settings]: where alerts are posted, and the smallest move in percent that causes
 * one. The operator also grants the host, and names the secret for it, in `allow`. */
static char url[HTTP_MAX_URL + 1];
static double percent;

const bool consumer_closed_only = true;

void consumer_settings(kl_settings *settings) {
    if (kl_string(settings, "url", "", url, sizeof url)) {
        const char *wrong = http_check_url(url);
        if (wrong) {
            kl_wrong(settings, "url", "an address such as https://hooks.example.com/alerts", "%s", wrong);
        }
    }
    percent = kl_number(settings, "percent", 1, 0.001, 1000);
}

kl_outcome consumer_start(void) {
    return kl_ok();
}

/* Writes the alert of a kline that moved far enough as a part of a JSON text. Returns its length; 0 without an alert. */
static size_t alert(const kl_kline *kline, bool first, char *text) {
    double move = (kline->close / kline->open - 1) * 100, size = move < 0 ? -move : move;
    /* A correction of an earlier kline: an alert that was sent cannot be taken back. */
    if (kline->revision > 0 || size < percent) {
        return 0;
    }
    char interval[16];
    int length = snprintf(text, MAX_ALERT, "%s%.*s %s %s %.2f %%", first ? "" : "\\n", (int)kline->symbol.len,
                          (const char *)kline->symbol.ptr, kl_interval_name(kline->interval, interval),
                          move > 0 ? "rose" : "fell", size);
    return length < MAX_ALERT ? (size_t)length : MAX_ALERT - 1;
}

/* Writes a key that is the same when the same batch is delivered again, after a failure or a restart: with it, the server
 * can ignore alerts that it already has. `first` is the first kline with an alert, `size` the number of klines in the
 * batch. The category is a number. */
static void idempotency_key(const kl_kline *first, size_t size, char key[MAX_KEY]) {
    char interval[16];
    snprintf(key, MAX_KEY, "%u-%.*s-%s-%llu-%zu", (unsigned)first->category, (int)first->symbol.len,
             (const char *)first->symbol.ptr, kl_interval_name(first->interval, interval),
             (unsigned long long)first->start, size);
}

/* Returns what the result of the request with `count` alerts means. */
static kl_outcome judge(http_result sent, size_t count) {
    if (sent.denied) {
        return kl_fatal("%s", sent.error);
    }
    if (sent.status == 0) {
        return kl_retry("%s", sent.error);
    }
    if (sent.status >= 200 && sent.status < 300) {
        kl_info("alerts sent count=%zu", count);
        return kl_ok();
    }
    /* The server rejects the text itself, and would reject it again. */
    if (sent.status == 400 || sent.status == 413 || sent.status == 422) {
        kl_error("alerts dropped, the server rejects them count=%zu status=%d", count, sent.status);
        return kl_ok();
    }
    char origin[200];
    http_origin(url, origin, sizeof origin);
    if (sent.status >= 300 && sent.status < 400) {
        return kl_retry("%s answered %d, and redirects are not followed", origin, sent.status);
    }
    return kl_retry("%s answered %d", origin, sent.status);
}

/* Sends one request for all alerts of the batch. */
kl_outcome consumer_consume(const kl_batch *batch) {
    char *json = malloc(batch->klines.len * MAX_ALERT + 32);
    if (!json) {
        return kl_fatal("out of memory");
    }
    size_t used = (size_t)sprintf(json, "{\"text\": \""), count = 0;
    char key[MAX_KEY];
    for (size_t row = 0; row < batch->klines.len; row++) {
        size_t length = alert(&batch->klines.ptr[row], count == 0, json + used);
        if (length > 0 && count++ == 0) {
            idempotency_key(&batch->klines.ptr[row], batch->klines.len, key);
        }
        used += length;
    }
    sprintf(json + used, "\"}");
    kl_outcome outcome = kl_ok();
    if (count > 0) {
        const http_header headers[] = {{"user-agent", "{{name}}"}, {"idempotency-key", key}, {NULL, NULL}};
        outcome = judge(http_post(url, json, headers), count);
    }
    free(json);
    return outcome;
}

void consumer_stop(void) {}
