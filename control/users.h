/* The users: who may log in, and what is kept of their passwords.
 *
 * Job: a file with one user a line, read when it changes and written anew, as a whole, when a user is added or deleted:
 *
 *      SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPL...dU= user
 *
 * method, iterations, salt, stored key, server key (the last three in base64), and up to the end of the line the name.
 * Lines that begin with # and empty lines are passed over.
 *
 * Who calls: control's main thread. A struct user is good until the next users_refresh, users_add or users_delete. */
#ifndef POLLUX_CONTROL_USERS_H
#define POLLUX_CONTROL_USERS_H

#include "control/scram.h"
#include "lib/shm/error.h"

struct user {
    char *name; /* bytes without NUL or line break */
    struct scram_secret secret;
};

struct users;

/* `path` must live as long. A file that is not there yet has no users. NULL with the reason when it can not be read or
 * is not such a file. */
struct users *users_open(const char *path, struct shm_error *error);
void users_close(struct users *users);

/* Reads the file again if it has changed. Returns 1 if it was read, 0 if there was nothing new, -1 with the reason, and
 * the users stay as they were. */
int users_refresh(struct users *users, struct shm_error *error);

size_t users_count(const struct users *users);

/* In the order of their names. */
const struct user *users_at(const struct users *users, size_t index);

/* The user of that name, or NULL. */
const struct user *users_find(const struct users *users, const char *name, size_t length);

/* Adds a user, or changes its password. Takes milliseconds. Returns 0, or -1 with the reason. */
int users_add(struct users *users, const char *name, const char *password, struct shm_error *error);

/* Returns 0, or -1 with the reason, as when there is none of that name. */
int users_delete(struct users *users, const char *name, struct shm_error *error);

/* For a name that nobody has: a secret that no password matches, the same for the same name, so that an answer does not
 * tell whether the user exists. */
void users_pretend(const struct users *users, const char *name, size_t length, struct scram_secret *secret);

#endif
