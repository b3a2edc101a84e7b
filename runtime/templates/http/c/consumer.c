/* A consumer of klines: it posts an alert to a webhook when a closed kline has moved far. */

#include <stdio.h>
#include <stdlib.h>

#include "http.h"
#include "klines.h"

enum { MAX_URL = 512, MAX_ALERT = 96 };

/* The settings of [consumers.{{name}}.settings]: where alerts are posted, and the smallest move in percent that causes
 * one. The operator also grants the host, and names the secret for it, in `allow`. */
static char url[MAX_URL];
static double percent;

const bool consumer_closed_only = true;

void consumer_settings(kl_settings *settings) {
    kl_string(settings, "url", "", url, sizeof url);
    percent = kl_number(settings, "percent", 1, 0.001, 1000);
    if (!*url) {
        kl_wrong(settings, "url", "a text", "missing key");
    }
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

/* Sends one request for all alerts of the batch. */
kl_outcome consumer_consume(const kl_batch *batch) {
    char *json = malloc(batch->klines.len * MAX_ALERT + 32);
    if (!json) {
        return kl_fatal("out of memory");
    }
    size_t used = (size_t)sprintf(json, "{\"text\": \""), count = 0;
    for (size_t row = 0; row < batch->klines.len; row++) {
        size_t length = alert(&batch->klines.ptr[row], count == 0, json + used);
        used += length;
        count += length > 0;
    }
    sprintf(json + used, "\"}");
    const http_header headers[] = {{"user-agent", "{{name}}"}, {NULL, NULL}};
    http_result sent = {.status = 200};
    if (count > 0) {
        sent = http_post(url, json, headers);
    }
    free(json);
    if (sent.denied) {
        return kl_fatal("%s", sent.error);
    }
    if (sent.status == 0) {
        return kl_retry("%s", sent.error);
    }
    if (sent.status >= 300) {
        return kl_retry("%s answered %d", url, sent.status);
    }
    if (count > 0) {
        kl_info("alerts sent count=%zu", count);
    }
    return kl_ok();
}

void consumer_stop(void) {}
