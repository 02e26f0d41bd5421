/* The users and their file: see control/users.h. */
#include "control/users.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define SALT_SIZE 16u /* bytes, of new users */

static const char head[] = "# Users of Pollux. Written by: polluxctl user add, polluxctl user delete\n";

struct users {
    const char *path;
    struct stat seen; /* of the file as it was read; st_ino 0: there was none */
    struct user *list;
    size_t count;
    uint8_t pretence[SCRAM_KEY_SIZE]; /* what the secrets of nobody are made from */
};

/* ---- the list ---------------------------------------------------------------------------------------------------- */

static void list_free(struct user *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i].name);
    free(list);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct user *)a)->name, ((const struct user *)b)->name);
}

size_t users_count(const struct users *users)
{
    return users->count;
}

const struct user *users_at(const struct users *users, size_t index)
{
    return &users->list[index];
}

const struct user *users_find(const struct users *users, const char *name, size_t length)
{
    char text[SCRAM_USER_MAX + 1];
    struct user key = {.name = text};
    if (length == 0 || length > SCRAM_USER_MAX || memchr(name, '\0', length) || users->count == 0)
        return NULL;
    memcpy(text, name, length);
    text[length] = '\0';
    return bsearch(&key, users->list, users->count, sizeof key, compare_names);
}

void users_pretend(const struct users *users, const char *name, size_t length, struct scram_secret *secret)
{
    unsigned size = SCRAM_KEY_SIZE;
    uint8_t salt[SCRAM_KEY_SIZE] = {0};
    HMAC(EVP_sha256(), users->pretence, sizeof users->pretence, (const uint8_t *)name, length, salt, &size);
    *secret = (struct scram_secret){.iterations = SCRAM_ITERATIONS, .salt_length = SALT_SIZE};
    memcpy(secret->salt, salt, SALT_SIZE);
    /* Keys that no password is known for. */
    memcpy(secret->stored_key, users->pretence, SCRAM_KEY_SIZE);
    memcpy(secret->server_key, users->pretence, SCRAM_KEY_SIZE);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static bool read_key(const char *text, size_t length, uint8_t key[SCRAM_KEY_SIZE])
{
    return scram_base64_decode(text, length, key, SCRAM_KEY_SIZE) == (int)SCRAM_KEY_SIZE;
}

/* One line without its end. */
static bool read_user(char *line, struct user *user)
{
    static const char method[] = SCRAM_METHOD "$";
    unsigned long iterations;
    char *at = line + sizeof method - 1, *salt, *stored, *server, *name;
    if (strncmp(line, method, sizeof method - 1) != 0)
        return false;
    iterations = strtoul(at, &at, 10);
    if (*at != ':' || iterations < SCRAM_ITERATIONS || iterations > SCRAM_ITERATIONS_MAX)
        return false;
    salt = at + 1;
    if (!(stored = strchr(salt, '$')) || !(server = strchr(stored, ':')) || !(name = strchr(server, ' ')))
        return false;
    int salt_length = scram_base64_decode(salt, (size_t)(stored - salt), user->secret.salt, SCRAM_SALT_MAX);
    if (salt_length <= 0 || !read_key(stored + 1, (size_t)(server - stored - 1), user->secret.stored_key) ||
        !read_key(server + 1, (size_t)(name - server - 1), user->secret.server_key))
        return false;
    user->secret.iterations = (uint32_t)iterations;
    user->secret.salt_length = (uint32_t)salt_length;
    size_t length = strlen(name + 1);
    if (length == 0 || length > SCRAM_USER_MAX)
        return false;
    user->name = strdup(name + 1);
    return user->name != NULL;
}

static int add_to_list(struct user **list, size_t *count, size_t *room, const struct user *user)
{
    if (*count == *room) {
        size_t more = *room ? *room * 2 : 64;
        struct user *grown = realloc(*list, more * sizeof *grown);
        if (!grown)
            return -1;
        *list = grown;
        *room = more;
    }
    (*list)[(*count)++] = *user;
    return 0;
}

static int read_lines(FILE *file, const char *path, struct user **list, size_t *count, struct shm_error *error)
{
    char *line = NULL;
    size_t line_room = 0, room = 0;
    ssize_t length;
    int result = 0;
    for (unsigned number = 1; result == 0 && (length = getline(&line, &line_room, file)) >= 0; number++) {
        struct user user = {0};
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0')
            continue;
        if (strlen(line) + 1 < (size_t)length || !read_user(line, &user))
            result =
                shm_error_set(error, "%s:%u: is not the line of a user; polluxctl user add makes them", path, number);
        else if (add_to_list(list, count, &room, &user) != 0)
            result = shm_error_set(error, "%s: no memory", path);
    }
    if (line)
        OPENSSL_cleanse(line, line_room);
    free(line);
    return result;
}

/* Two lines with one name are one mistake too many to guess which password is meant. */
static int check_names(const struct users *users, const struct user *list, size_t count, struct shm_error *error)
{
    for (size_t i = 1; i < count; i++)
        if (strcmp(list[i - 1].name, list[i].name) == 0)
            return shm_error_set(error, "%s: user %.100s is there twice", users->path, list[i].name);
    return 0;
}

static int load(struct users *users, struct shm_error *error)
{
    struct user *list = NULL;
    struct stat seen = {0};
    size_t count = 0;
    FILE *file = fopen(users->path, "re");
    if (!file && errno != ENOENT)
        return shm_error_set(error, "%s: %s", users->path, strerror(errno));
    if (file && fstat(fileno(file), &seen) != 0)
        seen = (struct stat){0};
    int result = file ? read_lines(file, users->path, &list, &count, error) : 0;
    if (file && result == 0 && ferror(file))
        result = shm_error_set(error, "%s: can not be read", users->path);
    if (file)
        fclose(file);
    if (count > 0)
        qsort(list, count, sizeof *list, compare_names);
    users->seen = seen; /* also of a bad file: what is wrong with it is said once */
    if (result != 0 || check_names(users, list, count, error) != 0) {
        list_free(list, count);
        return -1;
    }
    list_free(users->list, users->count);
    users->list = list;
    users->count = count;
    return 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int users_refresh(struct users *users, struct shm_error *error)
{
    struct stat now = {0};
    if (stat(users->path, &now) != 0)
        now = (struct stat){0};
    if (same_file(&now, &users->seen))
        return 0;
    return load(users, error) == 0 ? 1 : -1;
}

struct users *users_open(const char *path, struct shm_error *error)
{
    struct users *users = calloc(1, sizeof *users);
    if (!users || getrandom(users->pretence, sizeof users->pretence, 0) != (ssize_t)sizeof users->pretence) {
        free(users);
        return shm_error_set(error, "no memory, or no random numbers"), NULL;
    }
    users->path = path;
    if (load(users, error) == 0)
        return users;
    users_close(users);
    return NULL;
}

void users_close(struct users *users)
{
    if (users)
        list_free(users->list, users->count);
    free(users);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void write_user(FILE *file, const struct user *user)
{
    char salt[2 * SCRAM_SALT_MAX], stored[2 * SCRAM_KEY_SIZE], server[2 * SCRAM_KEY_SIZE];
    scram_base64_encode(user->secret.salt, user->secret.salt_length, salt);
    scram_base64_encode(user->secret.stored_key, SCRAM_KEY_SIZE, stored);
    scram_base64_encode(user->secret.server_key, SCRAM_KEY_SIZE, server);
    fprintf(file, SCRAM_METHOD "$%u:%s$%s:%s %s\n", user->secret.iterations, salt, stored, server, user->name);
}

/* A new file takes the old one's place at once: a crash leaves either. `skip` is left out, `added` is put in; NULL:
 * none. */
static int save(struct users *users, const struct user *skip, const struct user *added, struct shm_error *error)
{
    char temporary[512];
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.new", users->path) >= sizeof temporary)
        return shm_error_set(error, "%s: the path is too long", users->path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file) {
        if (fd >= 0)
            close(fd);
        return shm_error_set(error, "%s: %s", temporary, strerror(errno));
    }
    fputs(head, file);
    for (size_t i = 0; i < users->count; i++)
        if (&users->list[i] != skip)
            write_user(file, &users->list[i]);
    if (added)
        write_user(file, added);
    bool written = fflush(file) == 0 && fsync(fd) == 0;
    if (fclose(file) == 0 && written && rename(temporary, users->path) == 0)
        return load(users, error);
    shm_error_set(error, "%s: %s", users->path, strerror(errno));
    unlink(temporary);
    return -1;
}

/* What can stand at the end of a line, and in a table. */
static bool name_is_good(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++)
        if ((uint8_t)name[i] < 0x20 || name[i] == 0x7f)
            return false;
    return length > 0 && length <= SCRAM_USER_MAX;
}

int users_add(struct users *users, const char *name, const char *password, struct shm_error *error)
{
    struct user user = {.name = (char *)(uintptr_t)name,
                        .secret = {.iterations = SCRAM_ITERATIONS, .salt_length = SALT_SIZE}};
    if (!name_is_good(name))
        return shm_error_set(error, "a user name has 1..%u bytes and no control characters", SCRAM_USER_MAX);
    if (password[0] == '\0')
        return shm_error_set(error, "a password has at least one character");
    if (users_refresh(users, error) < 0)
        return -1;
    if (getrandom(user.secret.salt, SALT_SIZE, 0) != (ssize_t)SALT_SIZE ||
        !scram_secret_derive(&user.secret, (const uint8_t *)password, strlen(password)))
        return shm_error_set(error, "no memory, or no random numbers");
    return save(users, users_find(users, name, strlen(name)), &user, error);
}

int users_delete(struct users *users, const char *name, struct shm_error *error)
{
    if (users_refresh(users, error) < 0)
        return -1;
    const struct user *user = users_find(users, name, strlen(name));
    if (!user)
        return shm_error_set(error, "there is no user '%.100s'", name);
    return save(users, user, NULL, error);
}
