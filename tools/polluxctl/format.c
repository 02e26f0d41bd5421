/* Values for people: see tools/polluxctl/format.h. */
#include "tools/polluxctl/format.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

static const char *scaled(uint64_t value, double step, const char *const *units, char *text, size_t size)
{
    double shown = (double)value;
    size_t unit = 0;
    /* 999.95 would be rounded to 1000.0: it belongs to the next unit. */
    while (shown >= step - 0.05 * (unit > 0) && units[unit + 1]) {
        shown /= step;
        unit++;
    }
    snprintf(text, size, unit ? "%.1f%s" : "%.0f%s", shown, units[unit]);
    return text;
}

const char *format_count(uint64_t value, char *text, size_t size)
{
    static const char *const units[] = {"", "k", "M", "G", "T", "P", NULL};
    return scaled(value, 1000, units, text, size);
}

const char *format_bytes(uint64_t value, char *text, size_t size)
{
    static const char *const units[] = {" B", " KiB", " MiB", " GiB", " TiB", " PiB", NULL};
    return scaled(value, 1024, units, text, size);
}

const char *format_nanoseconds(uint64_t value, char *text, size_t size)
{
    static const char *const units[] = {" ns", " us", " ms", " s", NULL};
    return scaled(value, 1000, units, text, size);
}

const char *format_permille(uint64_t value, char *text, size_t size)
{
    snprintf(text, size, "%" PRIu64 ".%" PRIu64 " %%", value / 10, value % 10);
    return text;
}

/* Two units are as precise as a person reads. */
const char *format_duration(uint64_t seconds, char *text, size_t size)
{
    if (seconds < 60)
        snprintf(text, size, "%" PRIu64 "s", seconds);
    else if (seconds < 3600)
        snprintf(text, size, "%" PRIu64 "m %" PRIu64 "s", seconds / 60, seconds % 60);
    else if (seconds < 86400)
        snprintf(text, size, "%" PRIu64 "h %" PRIu64 "m", seconds / 3600, seconds / 60 % 60);
    else
        snprintf(text, size, "%" PRIu64 "d %" PRIu64 "h", seconds / 86400, seconds / 3600 % 24);
    return text;
}

const char *format_plain(const char *from, size_t length, char *text, size_t size)
{
    size_t written = 0;
    mbstate_t state = {0};
    for (size_t at = 0; at < length;) {
        wchar_t character;
        size_t taken = mbrtowc(&character, from + at, length - at, &state);
        int valid = taken != 0 && taken != (size_t)-1 && taken != (size_t)-2 && iswprint((wint_t)character);
        if (taken == 0 || taken == (size_t)-1 || taken == (size_t)-2) {
            memset(&state, 0, sizeof state);
            taken = 1;
        }
        if (written + taken >= size)
            break;
        if (valid) {
            memcpy(text + written, from + at, taken);
            written += taken;
        } else {
            text[written++] = '?';
        }
        at += taken;
    }
    text[written] = '\0';
    return text;
}

size_t format_width(const char *text)
{
    size_t columns = 0;
    mbstate_t state = {0};
    while (*text) {
        wchar_t character;
        size_t taken = mbrtowc(&character, text, MB_LEN_MAX, &state);
        if (taken == (size_t)-1 || taken == (size_t)-2 || taken == 0)
            return columns + strlen(text);
        int width = wcwidth(character);
        columns += width > 0 ? (size_t)width : 0;
        text += taken;
    }
    return columns;
}
