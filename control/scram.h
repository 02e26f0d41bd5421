/* SCRAM-SHA-256, RFC 5802 and RFC 7677: the server's side, and the keys that stand for a password.
 *
 * Job: what is kept of a password (salt, count, two keys: none of them gives the password, nor lets its holder log in),
 * and the two steps of a login. No files, no clock, no randomness of its own.
 *
 * Names and passwords are taken byte for byte: of SASLprep (RFC 4013) only what holds for ASCII, which is the identity.
 * Channel binding is not offered; a client that asks for it is refused.
 *
 * Who calls: any thread; every function works on its arguments alone, the caller owns all memory. */
#ifndef POLLUX_CONTROL_SCRAM_H
#define POLLUX_CONTROL_SCRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCRAM_METHOD "SCRAM-SHA-256"
#define SCRAM_KEY_SIZE 32u /* bytes of SHA-256 */
#define SCRAM_SALT_MAX 64u
#define SCRAM_USER_MAX 255u    /* bytes of a user name */
#define SCRAM_ITERATIONS 4096u /* RFC 7677: at least */
#define SCRAM_ITERATIONS_MAX 10000000u
#define SCRAM_MESSAGE_MAX 1776u /* bytes of one message of either side */

/* What is kept of a password. */
struct scram_secret {
    uint32_t iterations;
    uint32_t salt_length;
    uint8_t salt[SCRAM_SALT_MAX];
    uint8_t stored_key[SCRAM_KEY_SIZE];
    uint8_t server_key[SCRAM_KEY_SIZE];
};

/* Derives the keys from a password; salt and iterations are set already. Takes milliseconds. False: out of memory. */
bool scram_secret_derive(struct scram_secret *secret, const uint8_t *password, size_t length);

/* Is this the password? As long as deriving. */
bool scram_password_matches(const struct scram_secret *secret, const uint8_t *password, size_t length);

/* A login between its two steps. */
struct scram {
    char user[SCRAM_USER_MAX + 1];
    uint32_t user_length;
    char first_bare[SCRAM_MESSAGE_MAX + 1]; /* client-first-message-bare */
    char first[SCRAM_MESSAGE_MAX + 1];      /* server-first-message */
    char binding[SCRAM_MESSAGE_MAX + 1];    /* the client's gs2-header, in base64 */
    const char *nonce;                      /* in `first` */
    uint32_t nonce_length;
};

/* Reads client-first-message: the user's name is there afterwards. False: it can not be one, or asks for what there is
 * not. */
bool scram_begin(struct scram *scram, const uint8_t *message, size_t length);

/* Makes server-first-message, in scram->first. `nonce`, what the server adds to the client's nonce, is printable
 * characters without a comma that nobody can guess. False: it would be too long. */
bool scram_challenge(struct scram *scram, const struct scram_secret *secret, const char *nonce);

/* Reads client-final-message; if it proves the password, writes server-final-message, a string, to `answer`. */
bool scram_finish(const struct scram *scram, const struct scram_secret *secret, const uint8_t *message, size_t length,
                  char answer[SCRAM_MESSAGE_MAX + 1]);

/* Base64 with padding and without line breaks, RFC 4648 section 4. `text` has room for 4 * (length + 2) / 3 + 1. */
void scram_base64_encode(const uint8_t *bytes, size_t length, char *text);

/* Returns the number of bytes, or -1 if the text is not base64 in its one form or does not fit. */
int scram_base64_decode(const char *text, size_t length, uint8_t *bytes, size_t room);

#endif
