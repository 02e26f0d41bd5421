/* Values for people: 1.2M, 64.0 MiB, 3h 2m, 12.3 %.
 *
 * Each writes at most `size` bytes and returns `text`. No state, any thread. */
#ifndef POLLUX_POLLUXCTL_FORMAT_H
#define POLLUX_POLLUXCTL_FORMAT_H

#include <stddef.h>
#include <stdint.h>

/* 999, 1.0k, 12.3M: powers of 1,000. */
const char *format_count(uint64_t value, char *text, size_t size);
/* 999 B, 64.0 KiB: powers of 1,024. */
const char *format_bytes(uint64_t value, char *text, size_t size);
/* 5s, 3m 20s, 2h 5m, 4d 1h. */
const char *format_duration(uint64_t seconds, char *text, size_t size);
/* 900 ns, 4.2 us, 1.5 ms, 2.0 s. */
const char *format_nanoseconds(uint64_t value, char *text, size_t size);
/* 12.3 % of a value per mille. */
const char *format_permille(uint64_t value, char *text, size_t size);

/* Copy text that came from a client: control characters and what is not valid in the locale become '?', so that nothing
 * can play with the terminal. */
const char *format_plain(const char *from, size_t length, char *text, size_t size);

/* Columns that a text takes on the terminal. */
size_t format_width(const char *text);

#endif
