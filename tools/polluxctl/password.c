/* Asking for a password: see tools/polluxctl/password.h. */
#include "tools/polluxctl/password.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static bool complain(const char *text)
{
    fprintf(stderr, "polluxctl: %s\n", text);
    return false;
}

/* A line without its end. */
static bool read_line(char *line, size_t size)
{
    if (!fgets(line, (int)size, stdin))
        return complain("no password was given");
    size_t length = strcspn(line, "\n");
    if (line[length] != '\n' && length + 1 == size)
        return complain("the password is too long");
    line[length] = '\0';
    return true;
}

static bool ask_for(const char *user, const char *how, char *line, size_t size)
{
    struct termios before, silent;
    if (tcgetattr(STDIN_FILENO, &before) != 0)
        return read_line(line, size);
    silent = before;
    silent.c_lflag &= ~(tcflag_t)ECHO;
    fprintf(stderr, "Password of %s%s: ", user, how);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    bool read = read_line(line, size);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputc('\n', stderr);
    return read;
}

bool password_read(const char *user, char *password, size_t size)
{
    char again[1024];
    if (!isatty(STDIN_FILENO))
        return read_line(password, size);
    if (!ask_for(user, "", password, size) || !ask_for(user, ", again", again, sizeof again))
        return false;
    bool same = strcmp(password, again) == 0;
    explicit_bzero(again, sizeof again);
    return same || complain("these are two different passwords");
}
