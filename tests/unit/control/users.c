/* The users' file: added, changed, deleted, read again when others change it, and refused when it is none. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/users.h"

static char folder[64], path[96];
static struct shm_error error;

static void setup(void)
{
    strcpy(folder, "/tmp/pollux-users-XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/users", folder);
}

static void teardown(void)
{
    unlink(path);
    rmdir(folder);
}

TestSuite(users, .init = setup, .fini = teardown, .timeout = 20);

static void write_file(const char *text)
{
    char other[112];
    snprintf(other, sizeof other, "%s.other", path);
    FILE *file = fopen(other, "w");
    fputs(text, file);
    fclose(file);
    rename(other, path);
}

static bool password_is(const struct users *users, const char *name, const char *password)
{
    const struct user *user = users_find(users, name, strlen(name));
    return user && scram_password_matches(&user->secret, (const uint8_t *)password, strlen(password));
}

#define PENCIL                                                                                                  \
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ" \
    "7tl2KeoiWGPlZqQxSrmfPwDl2dU= "

Test(users, added_changed_and_deleted)
{
    struct stat status;
    struct users *users = users_open(path, &error);
    cr_assert(users, "%s", error.text);
    cr_assert_eq(users_count(users), 0, "a file that is not there has no users");
    cr_assert_eq(users_add(users, "bee", "honey", &error), 0, "%s", error.text);
    cr_assert_eq(users_add(users, "ant: and, more", "hill", &error), 0, "%s", error.text);
    cr_assert_eq(users_count(users), 2);
    cr_assert_str_eq(users_at(users, 0)->name, "ant: and, more");
    cr_assert(password_is(users, "bee", "honey"));
    cr_assert_not(password_is(users, "bee", "hill"));
    cr_assert_not(users_find(users, "be", 2));
    cr_assert_not(users_find(users, "bee\0", 4));
    cr_assert_eq(users_add(users, "bee", "wax", &error), 0);
    cr_assert_eq(users_count(users), 2);
    cr_assert(password_is(users, "bee", "wax"));
    users_close(users);
    users = users_open(path, &error);
    cr_assert(users && password_is(users, "bee", "wax") && password_is(users, "ant: and, more", "hill"));
    cr_assert_eq(users_delete(users, "bee", &error), 0);
    cr_assert_eq(users_delete(users, "bee", &error), -1);
    cr_assert(strstr(error.text, "there is no user 'bee'"));
    cr_assert_eq(users_count(users), 1);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0600);
    users_close(users);
}

Test(users, names_and_passwords_that_can_not_be)
{
    char long_name[SCRAM_USER_MAX + 2];
    struct users *users = users_open(path, &error);
    memset(long_name, 'x', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    cr_assert_eq(users_add(users, "", "x", &error), -1);
    cr_assert_eq(users_add(users, "a\nb", "x", &error), -1);
    cr_assert_eq(users_add(users, long_name, "x", &error), -1);
    cr_assert_eq(users_add(users, "a", "", &error), -1);
    cr_assert_eq(users_add(users, long_name + 1, "x", &error), 0, "%s", error.text);
    users_close(users);
}

Test(users, a_changed_file_is_read_again)
{
    write_file("# comment\n\n" PENCIL "user\n");
    struct users *users = users_open(path, &error);
    cr_assert(users && password_is(users, "user", "pencil"), "%s", error.text);
    cr_assert_eq(users_refresh(users, &error), 0);
    write_file(PENCIL "user\n" PENCIL "another\n");
    cr_assert_eq(users_refresh(users, &error), 1);
    cr_assert_eq(users_count(users), 2);
    write_file(PENCIL "user\nnonsense\n");
    cr_assert_eq(users_refresh(users, &error), -1);
    cr_assert(strstr(error.text, "users:2: is not the line of a user"), "%s", error.text);
    cr_assert_eq(users_count(users), 2, "a bad file changes nothing");
    cr_assert_eq(users_refresh(users, &error), 0, "and is complained of once");
    unlink(path);
    cr_assert_eq(users_refresh(users, &error), 1);
    cr_assert_eq(users_count(users), 0);
    users_close(users);
}

Test(users, files_that_are_none)
{
    static const char *const bad[] = {
        "user:password\n",
        "SCRAM-SHA-1$4096:W22ZaJ0SNY7soEsUEjb6gQ==$x:y user\n",
        "SCRAM-SHA-256$4095:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
        "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU= user\n",
        PENCIL "\n",
        PENCIL "a\n" PENCIL "b\n" PENCIL "a\n",
        "SCRAM-SHA-256$4096:$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:x user\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_file(bad[i]);
        cr_assert_not(users_open(path, &error), "%s", bad[i]);
    }
    cr_assert_not(users_open(folder, &error), "a folder");
}

Test(users, nobody_has_a_secret_that_looks_like_one)
{
    struct scram_secret first, second, other;
    struct users *users = users_open(path, &error);
    users_pretend(users, "nobody", 6, &first);
    users_pretend(users, "nobody", 6, &second);
    users_pretend(users, "somebody", 8, &other);
    cr_assert_eq(memcmp(&first, &second, sizeof first), 0);
    cr_assert_neq(memcmp(first.salt, other.salt, first.salt_length), 0);
    cr_assert_eq(first.iterations, SCRAM_ITERATIONS);
    users_close(users);
}
