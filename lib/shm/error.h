/* Error texts of lib/shm and lib/stats.
 *
 * Job: carry one sentence for a person from the place that refuses something to the place that can show it.
 * Any thread; the caller owns the struct, usually on its stack. Never used on a hot path. */
#ifndef POLLUX_SHM_ERROR_H
#define POLLUX_SHM_ERROR_H

#define SHM_ERROR_TEXT 512 /* bytes, with the terminating NUL */

struct shm_error {
    char text[SHM_ERROR_TEXT];
};

/* Format the sentence and return -1, so that a refusal is one statement. `error` may be NULL: nobody wants the text.
 * A text that is too long is cut. */
int shm_error_set(struct shm_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
