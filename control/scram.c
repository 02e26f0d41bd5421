/* SCRAM-SHA-256: see control/scram.h. */
#include "control/scram.h"

#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

/* ---- base64 ----------------------------------------------------------------------------------------------------- */

void scram_base64_encode(const uint8_t *bytes, size_t length, char *text)
{
    EVP_EncodeBlock((uint8_t *)text, bytes, (int)length);
}

/* OpenSSL's decoder takes white space and counts padding as data: what it made must become the same text again. */
int scram_base64_decode(const char *text, size_t length, uint8_t *bytes, size_t room)
{
    uint8_t decoded[SCRAM_MESSAGE_MAX];
    char again[SCRAM_MESSAGE_MAX + 1];
    if (length == 0 || length % 4 != 0 || length > SCRAM_MESSAGE_MAX)
        return -1;
    int size = EVP_DecodeBlock(decoded, (const uint8_t *)text, (int)length);
    if (size < 0)
        return -1;
    size -= (text[length - 1] == '=') + (text[length - 2] == '=');
    scram_base64_encode(decoded, (size_t)size, again);
    if ((size_t)size > room || strlen(again) != length || memcmp(again, text, length) != 0)
        return -1;
    memcpy(bytes, decoded, (size_t)size);
    return size;
}

/* ---- keys, RFC 5802 section 3 -------------------------------------------------------------------------------------
 */

static bool hmac(const uint8_t key[SCRAM_KEY_SIZE], const void *data, size_t length, uint8_t out[SCRAM_KEY_SIZE])
{
    unsigned size = SCRAM_KEY_SIZE;
    return HMAC(EVP_sha256(), key, SCRAM_KEY_SIZE, data, length, out, &size) != NULL;
}

bool scram_secret_derive(struct scram_secret *secret, const uint8_t *password, size_t length)
{
    uint8_t salted[SCRAM_KEY_SIZE], client_key[SCRAM_KEY_SIZE];
    bool done = PKCS5_PBKDF2_HMAC((const char *)password, (int)length, secret->salt, (int)secret->salt_length,
                                  (int)secret->iterations, EVP_sha256(), SCRAM_KEY_SIZE, salted) == 1 &&
                hmac(salted, "Client Key", 10, client_key) && hmac(salted, "Server Key", 10, secret->server_key);
    SHA256(client_key, sizeof client_key, secret->stored_key);
    OPENSSL_cleanse(salted, sizeof salted);
    OPENSSL_cleanse(client_key, sizeof client_key);
    return done;
}

/* HMAC fills a short key up with zeros: a password with zeros behind it would be as good as the password. */
bool scram_password_matches(const struct scram_secret *secret, const uint8_t *password, size_t length)
{
    struct scram_secret derived = *secret;
    bool matches = (length == 0 || !memchr(password, '\0', length)) &&
                   scram_secret_derive(&derived, password, length) &&
                   CRYPTO_memcmp(derived.stored_key, secret->stored_key, SCRAM_KEY_SIZE) == 0;
    OPENSSL_cleanse(&derived, sizeof derived);
    return matches;
}

/* ---- messages, RFC 5802 section 7 ---------------------------------------------------------------------------------
 */

/* An attribute "x=value" at `*at`, up to a comma or the end, which is passed. */
static bool take_attribute(const char **at, const char *end, char name, const char **value, size_t *length)
{
    if (end - *at < 2 || (*at)[0] != name || (*at)[1] != '=')
        return false;
    *value = *at + 2;
    const char *comma = memchr(*value, ',', (size_t)(end - *value));
    *length = (size_t)((comma ? comma : end) - *value);
    *at = comma ? comma + 1 : end;
    return true;
}

/* saslname: '=' and ',' are written =3D and =2C, and '=' means nothing else. */
static bool name_unescape(const char *text, size_t length, char *name, uint32_t *name_length)
{
    uint32_t n = 0;
    for (size_t i = 0; i < length; i++) {
        if (n == SCRAM_USER_MAX || text[i] == '\0')
            return false;
        if (text[i] != '=') {
            name[n++] = text[i];
            continue;
        }
        if (length - i < 3 || (memcmp(text + i, "=2C", 3) != 0 && memcmp(text + i, "=3D", 3) != 0))
            return false;
        name[n++] = text[i + 1] == '2' ? ',' : '=';
        i += 2;
    }
    name[n] = '\0';
    *name_length = n;
    return n > 0;
}

static bool nonce_is_printable(const char *nonce, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (nonce[i] < 0x21 || nonce[i] > 0x7e || nonce[i] == ',')
            return false;
    return length > 0;
}

/* gs2-header: "n,," or "y,,", with an authorization identity "a=name" between the commas. Returns what follows. */
static const char *take_header(const char *at, const char *end, const char **identity, size_t *identity_length)
{
    *identity_length = 0;
    if (end - at < 3 || (at[0] != 'n' && at[0] != 'y') || at[1] != ',')
        return NULL;
    at += 2;
    if (*at == ',')
        return at + 1;
    if (!take_attribute(&at, end, 'a', identity, identity_length) || at == end || *identity_length == 0)
        return NULL;
    return at;
}

bool scram_begin(struct scram *scram, const uint8_t *message, size_t length)
{
    const char *start = (const char *)message, *end = start + length;
    const char *identity = NULL, *name, *nonce;
    char acts_for[SCRAM_USER_MAX + 1];
    size_t identity_length, name_length, nonce_length;
    uint32_t acts_for_length;
    memset(scram, 0, sizeof *scram);
    /* The header has to fit in base64, and the bare message in half of the message that both nonces are in. */
    if (length > SCRAM_MESSAGE_MAX / 2)
        return false;
    const char *bare = take_header(start, end, &identity, &identity_length);
    const char *at = bare;
    /* A message that begins with an extension ("m=") is one that this server would misunderstand. */
    if (!bare || !take_attribute(&at, end, 'n', &name, &name_length) ||
        !take_attribute(&at, end, 'r', &nonce, &nonce_length) || !nonce_is_printable(nonce, nonce_length) ||
        !name_unescape(name, name_length, scram->user, &scram->user_length))
        return false;
    /* Nobody acts for somebody else. */
    if (identity && (!name_unescape(identity, identity_length, acts_for, &acts_for_length) ||
                     acts_for_length != scram->user_length || memcmp(acts_for, scram->user, acts_for_length) != 0))
        return false;
    memcpy(scram->first_bare, bare, (size_t)(end - bare));
    scram_base64_encode(message, (size_t)(bare - start), scram->binding);
    /* Until there is a challenge, the client's part of the nonce waits where the challenge will be. */
    memcpy(scram->first, nonce, nonce_length);
    scram->nonce_length = (uint32_t)nonce_length;
    return true;
}

bool scram_challenge(struct scram *scram, const struct scram_secret *secret, const char *nonce)
{
    char client_nonce[SCRAM_MESSAGE_MAX + 1], salt[2 * SCRAM_SALT_MAX];
    memcpy(client_nonce, scram->first, sizeof client_nonce);
    scram_base64_encode(secret->salt, secret->salt_length, salt);
    int length =
        snprintf(scram->first, sizeof scram->first, "r=%s%s,s=%s,i=%u", client_nonce, nonce, salt, secret->iterations);
    scram->nonce = scram->first + 2;
    scram->nonce_length += (uint32_t)strlen(nonce);
    return length > 0 && (size_t)length < sizeof scram->first;
}

/* AuthMessage; `without_proof` is the client-final-message up to the proof. */
static int auth_message(const struct scram *scram, const char *without_proof, size_t length, char *text, size_t size)
{
    int n = snprintf(text, size, "%s,%s,%.*s", scram->first_bare, scram->first, (int)length, without_proof);
    return n > 0 && (size_t)n < size ? n : -1;
}

/* ClientKey = ClientProof XOR HMAC(StoredKey, AuthMessage); its hash must be StoredKey. */
static bool proof_holds(const struct scram_secret *secret, const uint8_t proof[SCRAM_KEY_SIZE], const char *message,
                        size_t length)
{
    uint8_t key[SCRAM_KEY_SIZE], hash[SCRAM_KEY_SIZE];
    if (!hmac(secret->stored_key, message, length, key))
        return false;
    for (size_t i = 0; i < sizeof key; i++)
        key[i] ^= proof[i];
    SHA256(key, sizeof key, hash);
    OPENSSL_cleanse(key, sizeof key);
    return CRYPTO_memcmp(hash, secret->stored_key, sizeof hash) == 0;
}

bool scram_finish(const struct scram *scram, const struct scram_secret *secret, const uint8_t *message, size_t length,
                  char answer[SCRAM_MESSAGE_MAX + 1])
{
    const char *start = (const char *)message, *end = start + length, *at = start;
    const char *binding, *nonce, *proof_text = NULL;
    size_t binding_length, nonce_length, proof_length = 0;
    uint8_t proof[SCRAM_KEY_SIZE], signature[SCRAM_KEY_SIZE];
    char text[3 * (SCRAM_MESSAGE_MAX + 1)];
    if (length > SCRAM_MESSAGE_MAX || memchr(start, '\0', length) ||
        !take_attribute(&at, end, 'c', &binding, &binding_length) ||
        !take_attribute(&at, end, 'r', &nonce, &nonce_length))
        return false;
    /* Extensions may stand between the nonce and the proof, which is last. */
    const char *before = at;
    for (const char *next = at; next < end; next = at) {
        before = next;
        if (next[0] == 'm' || !take_attribute(&at, end, next[0], &proof_text, &proof_length))
            return false;
    }
    if (!proof_text || before[0] != 'p' || end[-1] == ',' ||
        scram_base64_decode(proof_text, proof_length, proof, sizeof proof) != (int)sizeof proof)
        return false;
    if (binding_length != strlen(scram->binding) || memcmp(binding, scram->binding, binding_length) != 0 ||
        nonce_length != scram->nonce_length || CRYPTO_memcmp(nonce, scram->nonce, nonce_length) != 0)
        return false;
    int size = auth_message(scram, start, (size_t)(before - 1 - start), text, sizeof text);
    if (size < 0 || !proof_holds(secret, proof, text, (size_t)size) ||
        !hmac(secret->server_key, text, (size_t)size, signature))
        return false;
    memcpy(answer, "v=", 2);
    scram_base64_encode(signature, sizeof signature, answer + 2);
    return true;
}
