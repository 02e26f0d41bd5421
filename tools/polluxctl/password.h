/* Asking for a password.
 *
 * Job: read a new password from the terminal, twice and without showing it, or one line from a pipe. */
#ifndef POLLUX_POLLUXCTL_PASSWORD_H
#define POLLUX_POLLUXCTL_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

/* A string into `password`. False with a message on standard error. */
bool password_read(const char *user, char *password, size_t size);

#endif
