/* A consumer of klines: it averages closes, emits the average, and logs when the close crosses it. */

#include <stdlib.h>
#include <string.h>

#include "klines.h"

enum { MAX_PERIOD = 1000 };

/* The last closes of one symbol and interval, in a ring buffer. */
struct average {
    struct average *next;
    klines_consumer_types_category_t category;
    char *symbol;
    kl_interval interval;
    /* Start of the newest kline in the average. */
    uint64_t newest;
    /* The number of closes, at most the period, and the index of the next one. */
    size_t count, at;
    /* 1 if the last close was above the average, -1 if below, 0 if there was no average yet. */
    int side;
    double closes[];
};

/* The setting `period` of [consumers.{{name}}.settings]: the number of klines in the average. */
static size_t period;
static struct average *averages;

const bool consumer_closed_only = true;

void consumer_settings(kl_settings *settings) {
    period = (size_t)kl_integer(settings, "period", 5, 2, MAX_PERIOD);
}

kl_outcome consumer_start(void) {
    kl_info("averaging closes period=%zu", period);
    return kl_ok();
}

/* Returns the average of the kline's symbol and interval, and creates it if needed; NULL if there is no memory. */
static struct average *average_of(const kl_kline *kline) {
    for (struct average *known = averages; known; known = known->next) {
        if (known->category == kline->category && known->interval.count == kline->interval.count &&
            known->interval.unit == kline->interval.unit && kl_is(kline->symbol, known->symbol)) {
            return known;
        }
    }
    struct average *added = calloc(1, sizeof *added + period * sizeof added->closes[0]);
    if (added) {
        added->category = kline->category;
        added->symbol = kl_copy(kline->symbol);
        added->interval = kline->interval;
        added->next = averages;
        averages = added;
    }
    return added;
}

/* Adds a close and computes the average; returns false until there are `period` closes. */
static bool add(struct average *average, const kl_kline *kline, double *sma) {
    /* A correction of an older kline, or a kline that was delivered before: it is in the average already. */
    if (kline->start <= average->newest) {
        return false;
    }
    average->newest = kline->start;
    average->closes[average->at] = kline->close;
    average->at = (average->at + 1) % period;
    if (average->count < period) {
        average->count++;
    }
    *sma = 0;
    /* Sums from the oldest close, so that rounding does not depend on the position in the ring buffer. */
    for (size_t i = 0; i < average->count; i++) {
        *sma += average->closes[(average->at + i) % period];
    }
    *sma /= (double)period;
    return average->count == period;
}

kl_outcome consumer_consume(const kl_batch *batch) {
    for (size_t row = 0; row < batch->klines.len; row++) {
        const kl_kline *kline = &batch->klines.ptr[row];
        struct average *average = average_of(kline);
        double sma;
        if (!average) {
            return kl_fatal("out of memory");
        }
        if (!add(average, kline, &sma)) {
            continue;
        }
        /* Clients of /v1/stream receive it on the topic ext.{{name}}.sma.INTERVAL.SYMBOL. */
        kl_emit(row, "sma", sma);
        int side = kline->close > sma ? 1 : -1;
        if (average->side && average->side != side) {
            char interval[16];
            kl_info("%s %s closed %s its average close=%.10g sma=%.4f", average->symbol,
                    kl_interval_name(kline->interval, interval), side > 0 ? "above" : "below", kline->close, sma);
        }
        average->side = side;
    }
    return kl_ok();
}

void consumer_stop(void) {}
