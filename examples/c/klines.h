/* The contract of klines as C types and functions. Implement the functions at the end of this file: klines.c calls them.
 *
 * The types are defined in build/bindings/kline_consumer.h, which the first build generates; wit/v1 describes their
 * fields.
 */
#ifndef KLINES_H
#define KLINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kline_consumer.h"

/* UTF-8 text without a zero at its end: print it with "%.*s", (int)text.len, text.ptr. */
typedef kline_consumer_string_t kl_text;
typedef klines_consumer_types_kline_t kl_kline;
typedef klines_consumer_types_batch_t kl_batch;
typedef klines_consumer_types_interval_t kl_interval;
typedef klines_consumer_types_exact_kline_t kl_exact;

/* The result of a call. */
typedef struct {
    enum { KL_OK, KL_RETRY, KL_FATAL } kind;
    char text[256];
} kl_outcome;

#define KL_PRINTF(at) __attribute__((format(printf, at, (at) + 1)))

/* The call succeeded. */
kl_outcome kl_ok(void);
/* The call failed for now: klines delivers the same batch again later. The text is the reason. */
kl_outcome kl_retry(const char *format, ...) KL_PRINTF(1);
/* The call failed for good: klines stops the consumer and shows the text to the operator. */
kl_outcome kl_fatal(const char *format, ...) KL_PRINTF(1);

/* Write one line to the log of klines, at most 1 KiB. */
void kl_debug(const char *format, ...) KL_PRINTF(1);
void kl_info(const char *format, ...) KL_PRINTF(1);
void kl_warn(const char *format, ...) KL_PRINTF(1);
void kl_error(const char *format, ...) KL_PRINTF(1);

/* Emit a value of the named series of this consumer for the kline in `row` of the current batch. If klines refuses the
 * value, the functions log the reason and return false. */
bool kl_emit(size_t row, const char *series, double value);
bool kl_emit_json(size_t row, const char *series, const char *json);

/* Returns the exact digits of the kline in `row`; free them with klines_consumer_types_exact_kline_free. */
kl_exact kl_exact_digits(size_t row);

/* Klines of the past, oldest first: `ptr` and `len`. */
typedef klines_consumer_history_list_kline_t kl_klines;
/* A time after every kline. */
#define KL_NEWEST UINT64_MAX
/* Reads the last `count` (1 to 1,000) closed klines whose windows start before `before`; fewer if klines has stored no more.
 * Call it in consumer_start or consumer_consume: it has everything that was delivered to this consumer, and nothing that was
 * not. Free the klines with kl_history_free. If klines refuses to read them, because the consumer does not receive this
 * symbol and interval or because nothing is stored, as in a replay, it logs the reason and returns false. */
bool kl_history(klines_consumer_types_category_t category, const char *symbol, kl_interval interval, uint32_t count,
                uint64_t before, kl_klines *klines);
void kl_history_free(kl_klines *klines);

/* Return whether two texts are equal. */
bool kl_is(kl_text text, const char *other);
bool kl_same(kl_text a, kl_text b);
/* Returns a copy that stays valid after the call, with a zero at its end; free it with free. */
char *kl_copy(kl_text text);
/* Writes an interval as in klines.toml, such as 5m or 1D, to the buffer, and returns the buffer. */
const char *kl_interval_name(kl_interval interval, char buffer[16]);

/* The settings, while they are read. Each function returns the value of the key, or the fallback if the key is missing.
 * A value of the wrong type or out of bounds, and a key that was not read, are reported to the operator. */
typedef struct kl_settings kl_settings;
int64_t kl_integer(kl_settings *settings, const char *key, int64_t fallback, int64_t least, int64_t most);
double kl_number(kl_settings *settings, const char *key, double fallback, double least, double most);
bool kl_flag(kl_settings *settings, const char *key, bool fallback);
/* Writes a text of at most size - 1 bytes to the buffer, with a zero at its end. Returns false if it reported the value. */
bool kl_string(kl_settings *settings, const char *key, const char *fallback, char *buffer, size_t size);
/* Reports another problem of the key: the formatted text is what is wrong, `expected` is what would be right. */
void kl_wrong(kl_settings *settings, const char *key, const char *expected, const char *format, ...) KL_PRINTF(4);

/* Implement these in your consumer. */

/* Reads the settings into your variables, and does nothing else: klines also calls it to check settings. */
void consumer_settings(kl_settings *settings);
/* Set it to true to receive closed klines only, without updates of open windows. */
extern const bool consumer_closed_only;
/* klines calls it once, before the first batch. */
kl_outcome consumer_start(void);
/* klines calls it for every batch. The batch is freed afterwards: copy what you keep. Klines can be delivered again. */
kl_outcome consumer_consume(const kl_batch *batch);
/* klines calls it once at the end, but not after a crash. */
void consumer_stop(void);

#endif
