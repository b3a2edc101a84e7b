/* The code between the host and your functions: logging, settings, and the memory of arguments and results. */

#include "klines.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KEYS = 64, MAX_LINE = 1024 };

/* Texts and the log. */

static kl_text borrowed(const char *text) {
    return (kl_text){(uint8_t *)text, strlen(text)};
}

/* Formats a text and cuts it to the size of the buffer, between characters: the host accepts valid UTF-8 only. */
static void format_text(char *text, size_t size, const char *format, va_list values) {
    int length = vsnprintf(text, size, format, values);
    if (length < 0 || (size_t)length < size) {
        return;
    }
    size_t end = size - 1, lead = end;
    while (lead > 0 && end - lead < 4 && ((uint8_t)text[lead - 1] & 0xC0) == 0x80) {
        lead--;
    }
    if (lead == 0) {
        return;
    }
    uint8_t first = (uint8_t)text[lead - 1];
    size_t wanted = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
    if (end - lead + 1 < wanted) {
        text[lead - 1] = 0;
    }
}

static void log_line(klines_consumer_host_level_t level, const char *format, va_list values) {
    char line[MAX_LINE];
    format_text(line, sizeof line, format, values);
    kl_text text = borrowed(line);
    klines_consumer_host_log(level, &text);
}

#define LOGS(name, level)                           \
    void name(const char *format, ...) {            \
        va_list values;                             \
        va_start(values, format);                   \
        log_line(level, format, values);            \
        va_end(values);                             \
    }
LOGS(kl_debug, KLINES_CONSUMER_HOST_LEVEL_DEBUG)
LOGS(kl_info, KLINES_CONSUMER_HOST_LEVEL_INFO)
LOGS(kl_warn, KLINES_CONSUMER_HOST_LEVEL_WARN)
LOGS(kl_error, KLINES_CONSUMER_HOST_LEVEL_ERROR)

bool kl_same(kl_text a, kl_text b) {
    return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

bool kl_is(kl_text text, const char *other) {
    return kl_same(text, borrowed(other));
}

/* Allocates memory, which the host limits; aborts if there is none. */
static void *allocate(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (!memory) {
        kl_error("out of memory: %zu bytes", size);
        abort();
    }
    return memory;
}

char *kl_copy(kl_text text) {
    char *copy = allocate(text.len + 1);
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    return copy;
}

const char *kl_interval_name(kl_interval interval, char buffer[16]) {
    static const char *const units[] = {"ms", "s", "m", "h", "D", "W", "M"};
    const char *unit = interval.unit < sizeof units / sizeof *units ? units[interval.unit] : "?";
    snprintf(buffer, 16, "%u%s", (unsigned)interval.count, unit);
    return buffer;
}

/* Outcomes. */

kl_outcome kl_ok(void) {
    return (kl_outcome){.kind = KL_OK};
}

kl_outcome kl_retry(const char *format, ...) {
    kl_outcome outcome = {.kind = KL_RETRY};
    va_list values;
    va_start(values, format);
    format_text(outcome.text, sizeof outcome.text, format, values);
    va_end(values);
    return outcome;
}

kl_outcome kl_fatal(const char *format, ...) {
    kl_outcome outcome = {.kind = KL_FATAL};
    va_list values;
    va_start(values, format);
    format_text(outcome.text, sizeof outcome.text, format, values);
    va_end(values);
    return outcome;
}

/* Converts an outcome to the result for the host, which frees the text; returns true on success. */
static bool answer(kl_outcome outcome, klines_consumer_types_failure_t *failure) {
    if (outcome.kind == KL_OK) {
        return true;
    }
    failure->tag = outcome.kind == KL_RETRY ? KLINES_CONSUMER_TYPES_FAILURE_RETRY : KLINES_CONSUMER_TYPES_FAILURE_FATAL;
    kline_consumer_string_dup(&failure->val.fatal, outcome.text);
    return false;
}

/* Emitted values and exact digits. */

static bool publish(size_t row, const char *series, klines_consumer_emit_value_t value) {
    kl_text name = borrowed(series), refusal;
    if (klines_consumer_emit_publish((uint32_t)row, &name, &value, &refusal)) {
        return true;
    }
    kl_warn("emit %s: %.*s", series, (int)refusal.len, (const char *)refusal.ptr);
    kline_consumer_string_free(&refusal);
    return false;
}

bool kl_emit(size_t row, const char *series, double value) {
    klines_consumer_emit_value_t number = {.tag = KLINES_CONSUMER_EMIT_VALUE_NUMBER, .val.number = value};
    return publish(row, series, number);
}

bool kl_emit_json(size_t row, const char *series, const char *json) {
    klines_consumer_emit_value_t text = {.tag = KLINES_CONSUMER_EMIT_VALUE_JSON, .val.json = borrowed(json)};
    return publish(row, series, text);
}

kl_exact kl_exact_digits(size_t row) {
    kl_exact digits;
    klines_consumer_host_exact((uint32_t)row, &digits);
    return digits;
}

/* Klines of the past. */

bool kl_history(klines_consumer_types_category_t category, const char *symbol, kl_interval interval, uint32_t count,
                uint64_t before, kl_klines *klines) {
    kl_text name = borrowed(symbol), refusal;
    if (klines_consumer_history_closed(category, &name, &interval, before, count, klines, &refusal)) {
        return true;
    }
    kl_warn("history %s: %.*s", symbol, (int)refusal.len, (const char *)refusal.ptr);
    kline_consumer_string_free(&refusal);
    *klines = (kl_klines){0};
    return false;
}

void kl_history_free(kl_klines *klines) {
    klines_consumer_history_list_kline_free(klines);
}

/* Settings: one JSON object, whose values can be numbers, texts, true and false. */

struct kl_settings {
    const char *at, *end;
    /* The keys that were read so far, and their number. */
    const char *known[MAX_KEYS];
    size_t count;
    exports_klines_consumer_consumer_list_problem_t problems;
};

/* A part of the JSON text. */
typedef struct {
    const char *begin, *end;
} span;

void kl_wrong(kl_settings *settings, const char *key, const char *expected, const char *format, ...) {
    char message[MAX_LINE];
    va_list values;
    va_start(values, format);
    format_text(message, sizeof message, format, values);
    va_end(values);
    size_t count = settings->problems.len;
    klines_consumer_types_problem_t *grown = allocate((count + 1) * sizeof *grown);
    if (count) {
        memcpy(grown, settings->problems.ptr, count * sizeof *grown);
        free(settings->problems.ptr);
    }
    kline_consumer_string_dup(&grown[count].path, key);
    kline_consumer_string_dup(&grown[count].message, message);
    kline_consumer_string_dup(&grown[count].expected, expected);
    settings->problems.ptr = grown;
    settings->problems.len = count + 1;
}

static const char *skip_blanks(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) {
        at++;
    }
    return at;
}

/* Returns the first byte after the string that begins at `at` with a quote. */
static const char *skip_string(const char *at, const char *end) {
    for (at++; at < end && *at != '"'; at++) {
        if (*at == '\\' && at + 1 < end) {
            at++;
        }
    }
    return at < end ? at + 1 : end;
}

/* Returns the first byte after the value of any type that begins at `at`. */
static const char *skip_value(const char *at, const char *end) {
    size_t depth = 0;
    while (at < end) {
        if (*at == '"') {
            at = skip_string(at, end);
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
        } else if (*at == '}' || *at == ']') {
            if (depth == 0) {
                return at;
            }
            depth--;
            at++;
        } else if (depth == 0 && (*at == ',' || *at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) {
            return at;
        } else {
            at++;
            continue;
        }
        if (depth == 0) {
            return at;
        }
    }
    return end;
}

/* Reads the next member of the object; returns false after the last one. */
static bool next_member(const char **at, const char *end, span *key, span *value) {
    const char *here = skip_blanks(*at, end);
    if (here < end && (*here == '{' || *here == ',')) {
        here = skip_blanks(here + 1, end);
    }
    if (here >= end || *here != '"') {
        return false;
    }
    key->begin = here + 1;
    here = skip_string(here, end);
    key->end = here - 1;
    here = skip_blanks(here, end);
    if (here >= end || *here != ':') {
        return false;
    }
    value->begin = skip_blanks(here + 1, end);
    value->end = skip_value(value->begin, end);
    *at = value->end;
    return value->begin < value->end;
}

/* Finds the value of a key and records that the key is known; returns false if the key is missing. */
static bool find(kl_settings *settings, const char *key, span *value) {
    if (settings->count < MAX_KEYS) {
        settings->known[settings->count++] = key;
    }
    const char *at = settings->at;
    span name;
    while (next_member(&at, settings->end, &name, value)) {
        if (strlen(key) == (size_t)(name.end - name.begin) && memcmp(key, name.begin, strlen(key)) == 0) {
            return true;
        }
    }
    return false;
}

/* Reports a value that is not as expected. */
static void wrong_value(kl_settings *settings, const char *key, span value, const char *expected) {
    kl_wrong(settings, key, expected, "is %.*s", (int)(value.end - value.begin), value.begin);
}

/* Copies the digits of a number and adds a zero at their end; returns false if the value is not a number. */
static bool digits(span value, char *buffer, size_t size) {
    size_t length = (size_t)(value.end - value.begin);
    bool begins = length > 0 && (*value.begin == '-' || (*value.begin >= '0' && *value.begin <= '9'));
    if (!begins || length >= size) {
        return false;
    }
    memcpy(buffer, value.begin, length);
    buffer[length] = 0;
    return true;
}

int64_t kl_integer(kl_settings *settings, const char *key, int64_t fallback, int64_t least, int64_t most) {
    span value;
    if (!find(settings, key, &value)) {
        return fallback;
    }
    char text[32], expected[96], *rest = text;
    snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)least, (long long)most);
    errno = 0;
    long long number = digits(value, text, sizeof text) ? strtoll(text, &rest, 10) : 0;
    if (rest == text || *rest || errno || number < least || number > most) {
        wrong_value(settings, key, value, expected);
        return fallback;
    }
    return number;
}

double kl_number(kl_settings *settings, const char *key, double fallback, double least, double most) {
    span value;
    if (!find(settings, key, &value)) {
        return fallback;
    }
    char text[64], expected[96], *rest = text;
    snprintf(expected, sizeof expected, "a number from %g to %g", least, most);
    double number = digits(value, text, sizeof text) ? strtod(text, &rest) : 0;
    if (rest == text || *rest || !(number >= least && number <= most)) {
        wrong_value(settings, key, value, expected);
        return fallback;
    }
    return number;
}

static bool equals(span value, const char *word) {
    return (size_t)(value.end - value.begin) == strlen(word) && memcmp(value.begin, word, strlen(word)) == 0;
}

bool kl_flag(kl_settings *settings, const char *key, bool fallback) {
    span value;
    if (!find(settings, key, &value)) {
        return fallback;
    }
    if (!equals(value, "true") && !equals(value, "false")) {
        wrong_value(settings, key, value, "true or false");
        return fallback;
    }
    return equals(value, "true");
}

/* Reads four hexadecimal digits; returns -1 if there are not four. */
static long code_unit(const char *at, const char *end) {
    long number = 0;
    for (int i = 0; i < 4; i++) {
        char c = at + i < end ? at[i] : 0;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) {
            return -1;
        }
        number = number * 16 + digit;
    }
    return number;
}

/* Writes a character as UTF-8 and returns its length in bytes. */
static size_t utf8(unsigned long c, char *buffer) {
    if (c < 0x80) {
        buffer[0] = (char)c;
        return 1;
    }
    size_t count = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = count - 1; i > 0; i--) {
        buffer[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    buffer[0] = (char)((0xf00 >> count) | c);
    return count;
}

/* Decodes the escape sequence after a backslash and returns the byte after it; NULL if the sequence is not valid. */
static const char *escape(const char *at, const char *end, char buffer[4], size_t *length) {
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *name = at < end && *at ? strchr(names, *at) : NULL;
    if (name) {
        buffer[0] = meant[name - names];
        *length = 1;
        return at + 1;
    }
    if (at >= end || *at != 'u') {
        return NULL;
    }
    long first = code_unit(at + 1, end);
    at += 5;
    if (first >= 0xd800 && first < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
        long second = code_unit(at + 2, end);
        if (second >= 0xdc00 && second < 0xe000) {
            *length = utf8(0x10000 + (((unsigned long)first - 0xd800) << 10) + ((unsigned long)second - 0xdc00), buffer);
            return at + 6;
        }
    }
    if (first <= 0 || (first >= 0xd800 && first < 0xe000)) {
        return NULL;
    }
    *length = utf8((unsigned long)first, buffer);
    return at;
}

bool kl_string(kl_settings *settings, const char *key, const char *fallback, char *buffer, size_t size) {
    span value;
    snprintf(buffer, size, "%s", fallback);
    if (!find(settings, key, &value)) {
        return true;
    }
    char *text = allocate((size_t)(value.end - value.begin) + 1);
    size_t used = 0;
    const char *at = value.begin + 1, *end = value.end - 1;
    bool is_text = *value.begin == '"' && at <= end;
    while (is_text && at < end) {
        char character[4] = {*at};
        size_t length = 1;
        at = *at == '\\' ? escape(at + 1, end, character, &length) : at + 1;
        is_text = at != NULL;
        memcpy(text + used, character, length);
        used += length;
    }
    text[used] = 0;
    bool fits = is_text && used < size;
    char expected[64];
    snprintf(expected, sizeof expected, "a text of at most %zu bytes", size - 1);
    if (fits) {
        memcpy(buffer, text, used + 1);
    } else if (is_text) {
        /* A long text is not shown: it can be a URL with a secret. */
        kl_wrong(settings, key, expected, "has %zu bytes", used);
    } else {
        wrong_value(settings, key, value, expected);
    }
    free(text);
    return fits;
}

/* Reads all settings and returns their problems, which the caller frees. */
static exports_klines_consumer_consumer_list_problem_t read_settings(kl_text *json) {
    kl_settings settings = {.at = (const char *)json->ptr, .end = (const char *)json->ptr + json->len};
    consumer_settings(&settings);
    const char *at = settings.at;
    span name, value;
    while (next_member(&at, settings.end, &name, &value)) {
        bool known = false;
        for (size_t i = 0; i < settings.count && !known; i++) {
            known = equals(name, settings.known[i]);
        }
        if (!known) {
            char all[MAX_LINE] = "";
            for (size_t i = 0; i < settings.count; i++) {
                size_t used = strlen(all);
                snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", settings.known[i]);
            }
            char *key = kl_copy((kl_text){(uint8_t *)name.begin, (size_t)(name.end - name.begin)});
            kl_wrong(&settings, key, all, "there is no such setting");
            free(key);
        }
    }
    kline_consumer_string_free(json);
    return settings.problems;
}

/* The exports, which the host calls. This code frees the arguments; the host frees the results. */

void exports_klines_consumer_consumer_validate(kl_text *json, exports_klines_consumer_consumer_list_problem_t *problems) {
    *problems = read_settings(json);
}

bool exports_klines_consumer_consumer_setup(kl_text *json, klines_consumer_types_subscription_t *wanted,
                                            klines_consumer_types_failure_t *failure) {
    exports_klines_consumer_consumer_list_problem_t problems = read_settings(json);
    if (problems.len > 0) {
        klines_consumer_types_problem_t first = problems.ptr[0];
        kl_outcome refused = kl_fatal("settings: %.*s %.*s", (int)first.path.len, (const char *)first.path.ptr,
                                      (int)first.message.len, (const char *)first.message.ptr);
        exports_klines_consumer_consumer_list_problem_free(&problems);
        return answer(refused, failure);
    }
    /* All symbols and intervals; klines.toml can restrict them. */
    *wanted = (klines_consumer_types_subscription_t){.closed_only = consumer_closed_only};
    return true;
}

bool exports_klines_consumer_consumer_start(klines_consumer_types_failure_t *failure) {
    return answer(consumer_start(), failure);
}

bool exports_klines_consumer_consumer_consume(kl_batch *batch, klines_consumer_types_failure_t *failure) {
    kl_outcome outcome = consumer_consume(batch);
    klines_consumer_types_batch_free(batch);
    return answer(outcome, failure);
}

void exports_klines_consumer_consumer_stop(void) {
    consumer_stop();
}
