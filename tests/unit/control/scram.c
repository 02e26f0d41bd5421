/* SCRAM-SHA-256: the example of RFC 7677, and what a server must not take. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "control/scram.h"

TestSuite(scram, .timeout = 20);

#define SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define NONCE "rOprNGfwEbeRWgbNEkqO" SERVER_NONCE
#define FINAL "c=biws,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="

static struct scram scram;
static struct scram_secret secret;
static char answer[SCRAM_MESSAGE_MAX + 1];

/* What RFC 7677 section 3 keeps of the password "pencil". */
static void pencil(void)
{
    secret = (struct scram_secret){.iterations = 4096};
    secret.salt_length = (uint32_t)scram_base64_decode("W22ZaJ0SNY7soEsUEjb6gQ==", 24, secret.salt, sizeof secret.salt);
    cr_assert_eq(secret.salt_length, 16);
    cr_assert(scram_secret_derive(&secret, (const uint8_t *)"pencil", 6));
}

static bool begin(const char *message)
{
    return scram_begin(&scram, (const uint8_t *)message, strlen(message));
}

static bool finish(const char *message)
{
    return scram_finish(&scram, &secret, (const uint8_t *)message, strlen(message), answer);
}

Test(scram, the_example_of_rfc_7677)
{
    pencil();
    cr_assert(begin("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"));
    cr_assert_str_eq(scram.user, "user");
    cr_assert(scram_challenge(&scram, &secret, SERVER_NONCE));
    cr_assert_str_eq(scram.first, "r=" NONCE ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    cr_assert(finish(FINAL));
    cr_assert_str_eq(answer, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

Test(scram, keys_are_those_of_the_file_format_that_others_use)
{
    char text[64];
    pencil();
    scram_base64_encode(secret.stored_key, SCRAM_KEY_SIZE, text);
    cr_assert_str_eq(text, "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=");
    scram_base64_encode(secret.server_key, SCRAM_KEY_SIZE, text);
    cr_assert_str_eq(text, "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
    cr_assert(scram_password_matches(&secret, (const uint8_t *)"pencil", 6));
    cr_assert_not(scram_password_matches(&secret, (const uint8_t *)"pencils", 7));
    cr_assert_not(scram_password_matches(&secret, (const uint8_t *)"pencil\0", 7));
    cr_assert_not(scram_password_matches(&secret, NULL, 0));
}

Test(scram, last_messages_that_prove_nothing)
{
    static const char *const bad[] = {
        "",
        "c=biws",
        "c=biws,r=" NONCE,
        "c=biws,r=" NONCE ",",
        "c=biws,r=" NONCE ",p=",
        "c=biws,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVR=", /* not base64's one form */
        "c=biws,r=" NONCE ",p=eHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "c=eSws,r=" NONCE ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "c=biws,r=" NONCE "x,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "r=" NONCE ",c=biws,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "c=biws,r=" NONCE ",m=must,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        FINAL ",x=behind",
        FINAL ",",
    };
    pencil();
    cr_assert(begin("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"));
    cr_assert(scram_challenge(&scram, &secret, SERVER_NONCE));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_not(finish(bad[i]), "%s", bad[i]);
    cr_assert(finish(FINAL));
}

Test(scram, first_messages)
{
    static const char *const bad[] = {
        "",
        "n",
        "n,,",
        "n,,n=user",
        "n,,n=user,",
        "n,,n=,r=x",
        "n,,r=x,n=user",
        "p=tls-unique,,n=user,r=x", /* channel binding */
        "x,,n=user,r=x",
        "n,,m=must,n=user,r=x",
        "n,,n=us=er,r=x",
        "n,,n=us=2,r=x",
        "n,,n=user,r=",
        "n,,n=user,r=a b",
        "n,a=,n=user,r=x",
        "n,a=other,n=user,r=x",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_not(begin(bad[i]), "%s", bad[i]);
    cr_assert_not(scram_begin(&scram, (const uint8_t *)"n,,n=a\0b,r=x", 12), "NUL in a name");
    cr_assert(begin("y,,n=user,r=x,ext=1"));
    cr_assert(begin("n,a=user,n=user,r=x"));
    cr_assert(begin("n,,n=a=2Cb=3Dc,r=x"));
    cr_assert_str_eq(scram.user, "a,b=c");
    char text[SCRAM_MESSAGE_MAX];
    memset(text, 'x', sizeof text);
    memcpy(text, "n,,n=user,r=", 12);
    cr_assert_not(scram_begin(&scram, (const uint8_t *)text, sizeof text), "a nonce that leaves no room for ours");
    cr_assert(scram_begin(&scram, (const uint8_t *)text, sizeof text / 2));
    pencil();
    cr_assert(scram_challenge(&scram, &secret, SERVER_NONCE));
}
