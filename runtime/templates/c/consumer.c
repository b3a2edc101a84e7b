/* A consumer of klines: it averages closes, emits the average, and logs when the close crosses it. */

#include <stdlib.h>
#include <string.h>

#include "klines.h"

enum { MOST_PERIOD = 1000 };

/* The last closes of one symbol and interval, in a ring. */
struct average {
    struct average *next;
    klines_consumer_types_category_t category;
    char *symbol;
    kl_interval interval;
    uint64_t newest;
    /* Closes seen, at most the period, and where the next one goes. */
    size_t count, at;
    /* 1 above the average, -1 below, 0 before it is known. */
    int side;
    double closes[];
};

/* What the operator may write under [consumers.{{name}}.settings]: the number of klines that the average looks back on. */
static size_t period;
static struct average *averages;

const bool consumer_closed_only = true;

void consumer_settings(kl_settings *settings) {
    period = (size_t)kl_integer(settings, "period", 5, 2, MOST_PERIOD);
}

kl_outcome consumer_start(void) {
    kl_info("averaging closes period=%zu", period);
    return kl_ok();
}

/* Finds the average that a kline belongs to, or begins one; NULL without memory. */
static struct average *average_of(const kl_kline *kline) {
    for (struct average *known = averages; known; known = known->next) {
        if (known->category == kline->category && known->interval.count == kline->interval.count &&
            known->interval.unit == kline->interval.unit && kl_is(kline->symbol, known->symbol)) {
            return known;
        }
    }
    struct average *begun = calloc(1, sizeof *begun + period * sizeof begun->closes[0]);
    if (begun) {
        begun->category = kline->category;
        begun->symbol = kl_copy(kline->symbol);
        begun->interval = kline->interval;
        begun->next = averages;
        averages = begun;
    }
    return begun;
}

/* Takes a close; true once there are enough for an average. */
static bool add(struct average *average, const kl_kline *kline, double *sma) {
    /* A correction of an older kline, or one that was delivered before: it is in the average already. */
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
    /* From the oldest on, so that the sum is the same whatever came before. */
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
        /* Clients find it as ext.{{name}}.sma.INTERVAL.SYMBOL on /v1/stream. */
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
