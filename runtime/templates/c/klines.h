/* The contract of klines in C's idiom. You write the functions at the end of this file; klines.c calls them.
 *
 * The types come from build/bindings/kline_consumer.h, which the first build makes; wit/v1 says what their fields mean.
 */
#ifndef KLINES_H
#define KLINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kline_consumer.h"

/* UTF-8 that does not end with a zero: print it with "%.*s", (int)text.len, text.ptr. */
typedef kline_consumer_string_t kl_text;
typedef klines_consumer_types_kline_t kl_kline;
typedef klines_consumer_types_batch_t kl_batch;
typedef klines_consumer_types_interval_t kl_interval;
typedef klines_consumer_types_exact_kline_t kl_exact;

/* What a call came to. */
typedef struct {
    enum { KL_OK, KL_RETRY, KL_FATAL } kind;
    char text[256];
} kl_outcome;

#define KL_PRINTF(at) __attribute__((format(printf, at, (at) + 1)))

/* All is well. */
kl_outcome kl_ok(void);
/* Not now: the same batch comes again later. */
kl_outcome kl_retry(const char *format, ...) KL_PRINTF(1);
/* Never: the consumer is stopped. */
kl_outcome kl_fatal(const char *format, ...) KL_PRINTF(1);

/* One line in the log of klines, at most 1 KiB. */
void kl_debug(const char *format, ...) KL_PRINTF(1);
void kl_info(const char *format, ...) KL_PRINTF(1);
void kl_warn(const char *format, ...) KL_PRINTF(1);
void kl_error(const char *format, ...) KL_PRINTF(1);

/* Publishes a value of a series of this consumer's own for the kline in that row of the batch in hand. A refusal is
 * logged and answered with false. */
bool kl_emit(size_t row, const char *series, double value);
bool kl_emit_json(size_t row, const char *series, const char *json);

/* The exact digits of a kline; give them back with klines_consumer_types_exact_kline_free. */
kl_exact kl_exact_digits(size_t row);

/* Whether a text is this one. */
bool kl_is(kl_text text, const char *other);
bool kl_same(kl_text a, kl_text b);
/* A copy that stays after the call, ended by a zero; free it. */
char *kl_copy(kl_text text);
/* An interval as configurations have it, such as 5m; the room is returned. */
const char *kl_interval_name(kl_interval interval, char room[16]);

/* The settings, while they are read: each function returns the key's value, or the fallback where there is none. What is
 * wrong (a type, a value out of bounds, a key that was not asked for) is told to the operator with the key. */
typedef struct kl_settings kl_settings;
int64_t kl_integer(kl_settings *settings, const char *key, int64_t fallback, int64_t least, int64_t most);
double kl_number(kl_settings *settings, const char *key, double fallback, double least, double most);
bool kl_flag(kl_settings *settings, const char *key, bool fallback);
/* At most room - 1 bytes. */
void kl_string(kl_settings *settings, const char *key, const char *fallback, char *into, size_t room);
/* Something else is wrong. */
void kl_wrong(kl_settings *settings, const char *key, const char *expected, const char *format, ...) KL_PRINTF(4);

/* You write these. */

/* Reads the settings into variables of yours and does nothing else. */
void consumer_settings(kl_settings *settings);
/* Whether only closed klines are wanted, no updates of open windows. */
extern const bool consumer_closed_only;
/* Called once before the first batch. */
kl_outcome consumer_start(void);
/* Takes one batch, which is gone afterwards: copy what you keep. The same klines may come again. */
kl_outcome consumer_consume(const kl_batch *batch);
/* Called at the end, never after a crash. */
void consumer_stop(void);

#endif
