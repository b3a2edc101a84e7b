/* Appends closed klines to a CSV file in a granted folder, with their exact digits.
 *
 * Delivery is at least once: after a crash some rows can be written twice. The first five columns are the key of a row;
 * if several rows differ only in the revision, the one with the highest revision is valid.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "klines.h"

/* The setting `path` of [consumers.csv-writer.settings]: the path of the file in the sandbox. */
static char path[256];
static FILE *file;

const bool consumer_closed_only = true;

void consumer_settings(kl_settings *settings) {
    kl_string(settings, "path", "/out/klines.csv", path, sizeof path);
    if (path[0] != '/') {
        kl_wrong(settings, "path", "a path from /, inside a folder of allow.dirs", "is %s", path);
    }
}

kl_outcome consumer_start(void) {
    file = fopen(path, "a");
    if (!file) {
        return kl_fatal("%s cannot be opened: %s; is its folder in [consumers.NAME.allow] dirs, with write = true?", path,
                        strerror(errno));
    }
    /* Only an empty file needs the header. */
    if (fseek(file, 0, SEEK_END) == 0 && ftell(file) == 0) {
        fputs("category,symbol,interval,start,revision,open,high,low,close,volume,turnover,trades\n", file);
    }
    kl_info("writing path=%s", path);
    return kl_ok();
}

static const char *category_name(klines_consumer_types_category_t category) {
    static const char *const names[] = {"linear", "spot", "inverse", "option"};
    return category < sizeof names / sizeof *names ? names[category] : "?";
}

static void print(kl_text text) {
    fwrite(text.ptr, 1, text.len, file);
    fputc(',', file);
}

static void write_row(size_t row, const kl_kline *kline) {
    char interval[16];
    fprintf(file, "%s,", category_name(kline->category));
    print(kline->symbol);
    fprintf(file, "%s,%llu,%u,", kl_interval_name(kline->interval, interval), (unsigned long long)kline->start,
            (unsigned)kline->revision);
    /* The floats of a kline are approximate, these digits are exact. */
    kl_exact digits = kl_exact_digits(row);
    print(digits.open);
    print(digits.high);
    print(digits.low);
    print(digits.close);
    print(digits.volume);
    print(digits.turnover);
    klines_consumer_types_exact_kline_free(&digits);
    fprintf(file, "%llu\n", (unsigned long long)kline->trades);
}

kl_outcome consumer_consume(const kl_batch *batch) {
    if (batch->lost > 0) {
        kl_warn("klines are missing lost=%llu", (unsigned long long)batch->lost);
    }
    for (size_t row = 0; row < batch->klines.len; row++) {
        write_row(row, &batch->klines.ptr[row]);
    }
    /* Flush after every batch, because `stop` is not called after a crash. */
    if (fflush(file) != 0 || ferror(file)) {
        clearerr(file);
        return kl_retry("%s cannot be written: %s", path, strerror(errno));
    }
    return kl_ok();
}

void consumer_stop(void) {
    if (file && fclose(file) != 0) {
        kl_error("%s may lack its last rows: %s", path, strerror(errno));
    }
    file = NULL;
}
