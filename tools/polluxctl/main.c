/* polluxctl: the program.
 *
 * Job: options and words of the command line; the rest is in the table of verbs. */
#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tools/polluxctl/verbs.h"

enum {
    OPTION_TO = 256,
    OPTION_RATE,
    OPTION_PERMANENT,
    OPTION_STOP,
    OPTION_WORKER,
    OPTION_WRITE,
    OPTION_CAPTURE
}; /* they have no letters */

static int usage_error(const char *text, const char *what)
{
    fprintf(stderr, "polluxctl: %s%s\nTry: polluxctl --help\n", text, what);
    return EXIT_USAGE;
}

static int add_filter(struct options *options, const char *text)
{
    const char *equals = strchr(text, '=');
    char field[64];
    if (!equals || equals == text || (size_t)(equals - text) >= sizeof field)
        return usage_error("--filter takes FIELD=VALUE, not ", text);
    snprintf(field, sizeof field, "%.*s", (int)(equals - text), text);
    if (!options->filter)
        options->filter = json_object();
    if (json_object_set_new(options->filter, field, json_string(equals + 1)) != 0)
        return usage_error("--filter is not valid UTF-8: ", text);
    return 0;
}

/* Filter and bounds of a capture go to pollux-control as they are; it knows what they may be. */
static int add_capture(struct options *options, const char *field, const char *text)
{
    char *end = NULL;
    const long number = strtol(text, &end, 10);
    /* A client id of digits is still a text. */
    const bool is_number = *text != '\0' && *end == '\0' && strcmp(field, "client") != 0;
    if (!options->capture)
        options->capture = json_object();
    if (json_object_set_new(options->capture, field, is_number ? json_integer(number) : json_string(text)) != 0)
        return usage_error("not valid UTF-8: ", text);
    return 0;
}

static int take_number(const char *text, const char *name, long least, long *value)
{
    char *end = NULL;
    *value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || *value < least || *value > 1000000000)
        return usage_error(name, text);
    return 0;
}

/* 0: go on, with the words from optind on; 1: all is done; else the exit status of an error. */
static int take_options(int argc, char **argv, const char *letters, struct options *options)
{
    const bool captures = strchr(letters, 'w')[1] == ':';
    int which = 0;
    static const struct option table[] = {{"run-dir", required_argument, NULL, 'r'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"filter", required_argument, NULL, 'f'},
                                          {"sort", required_argument, NULL, 's'},
                                          {"limit", required_argument, NULL, 'n'},
                                          {"wide", no_argument, NULL, 'w'},
                                          {"timeout", required_argument, NULL, 't'},
                                          {"version", no_argument, NULL, 'V'},
                                          {"interval", required_argument, NULL, 'i'},
                                          {"once", no_argument, NULL, '1'},
                                          {"all", no_argument, NULL, 'a'},
                                          {"worker", required_argument, NULL, OPTION_WORKER},
                                          {"help", no_argument, NULL, 'h'},
                                          {"to", required_argument, NULL, OPTION_TO},
                                          {"rate", required_argument, NULL, OPTION_RATE},
                                          {"permanent", no_argument, NULL, OPTION_PERMANENT},
                                          {"stop", no_argument, NULL, OPTION_STOP},
                                          {"write", required_argument, NULL, OPTION_WRITE},
                                          {"client", required_argument, NULL, OPTION_CAPTURE},
                                          {"address", required_argument, NULL, OPTION_CAPTURE},
                                          {"port", required_argument, NULL, OPTION_CAPTURE},
                                          {"direction", required_argument, NULL, OPTION_CAPTURE},
                                          {"packets", required_argument, NULL, OPTION_CAPTURE},
                                          {"bytes", required_argument, NULL, OPTION_CAPTURE},
                                          {"seconds", required_argument, NULL, OPTION_CAPTURE},
                                          {"snap-length", required_argument, NULL, OPTION_CAPTURE},
                                          {NULL, 0, NULL, 0}};
    int option, error = 0;
    while (error == 0 && (option = getopt_long(argc, argv, letters, table, &which)) != -1) {
        switch (option) {
        case 'r':
            options->run_dir = optarg;
            break;
        case 'j':
            options->json = true;
            break;
        case 'f':
            error = add_filter(options, optarg);
            break;
        case 's':
            options->sort = optarg;
            break;
        case 'n':
            error = take_number(optarg, "--limit takes a number above 0, not ", 1, &options->limit);
            break;
        case 'w':
            if (captures)
                options->write = optarg;
            else
                options->wide = true;
            break;
        case OPTION_WRITE:
            options->write = optarg;
            break;
        case OPTION_CAPTURE:
            error = add_capture(options, table[which].name, optarg);
            break;
        case 't':
            error = take_number(optarg, "--timeout takes seconds, not ", 0, &options->timeout);
            break;
        case 'i':
            error = take_number(optarg, "--interval takes seconds above 0, not ", 1, &options->interval);
            break;
        case '1':
            options->once = true;
            break;
        case 'a':
            options->all = true;
            break;
        case OPTION_WORKER:
            error = take_number(optarg, "--worker takes the number of a worker, not ", 0, &options->worker);
            break;
        case OPTION_TO:
            options->to = optarg;
            break;
        case OPTION_RATE:
            error = take_number(optarg, "--rate takes clients a second above 0, not ", 1, &options->rate);
            break;
        case OPTION_PERMANENT:
            options->permanent = true;
            break;
        case OPTION_STOP:
            options->stop = true;
            break;
        case 'V':
            puts("polluxctl " POLLUX_VERSION);
            return 1;
        case 'h':
            options->help = true;
            break;
        default:
            fputs("Try: polluxctl --help\n", stderr);
            error = EXIT_USAGE;
        }
    }
    return error;
}

static bool begins(const char *name, const char *word)
{
    return strncmp(name, word, strlen(word)) == 0;
}

static int run(int count, char **words, const struct options *options)
{
    int used = 0;
    if (count == 0 || strcmp(words[0], "help") == 0) {
        verb_print_usage(options->help || count ? stdout : stderr);
        return options->help || count ? EXIT_OK : EXIT_USAGE;
    }
    /* `polluxctl show --help` asks what can be shown: that is in the overview. */
    if (options->help && count == 1 && (begins("show", words[0]) || begins("user", words[0]))) {
        verb_print_usage(stdout);
        return EXIT_OK;
    }
    const struct verb *verb = verb_find(count, words, &used);
    if (!verb)
        return EXIT_USAGE;
    if (options->help) {
        verb_print_help(stdout, verb);
        return EXIT_OK;
    }
    if (verb->argument && count == used)
        return usage_error("this command needs ", verb->argument);
    if (count > used + (verb->argument ? 1 : 0))
        return usage_error("there is a word too many: ", words[used + (verb->argument ? 1 : 0)]);
    const bool top = strcmp(verb->words[0], "top") == 0;
    if ((options->once || options->interval) && !top && !verb->counts)
        return usage_error("--interval and --once are for top, show tcp and show counters", "");
    if (options->worker >= 0 && !verb->counts)
        return usage_error("--worker is for show tcp and show counters", "");
    if (options->all && (!verb->counts || strcmp(verb->words[1], "tcp") != 0))
        return usage_error("--all is for show tcp", "");
    if (!verb->list && (options->filter || ((options->sort || options->limit) && !top)))
        return usage_error("--filter, --sort and --limit are for lists", "");
    const bool drains = strcmp(verb->words[0], "drain") == 0, captures = strcmp(verb->words[0], "capture") == 0;
    if (!drains && (options->to || options->rate || options->permanent))
        return usage_error("--to, --permanent and --rate are for drain", "");
    if (!drains && !captures && options->stop)
        return usage_error("--stop is for drain and capture", "");
    if (!captures && (options->write || options->capture))
        return usage_error("--write, --client, --address, --port, --direction, --packets, --bytes, --seconds and "
                           "--snap-length are for capture",
                           "");
    return verb->run(verb, verb->argument ? words[used] : NULL, options);
}

/* The first word decides what -w means: a capture's file, else that tables may be wide. */
static const char *letters_for(const char *word)
{
    const bool captures = strlen(word) > 1 && strncmp(word, "capture", strlen(word)) == 0;
    return captures ? "r:jt:w:Vh" : "r:jf:s:n:wt:i:1aVh";
}

/* Figures that a full disk or a closed descriptor has swallowed are no success. */
static int after_output(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fputs("polluxctl: standard output cannot be written to\n", stderr);
    return status == EXIT_OK ? EXIT_REFUSED : status;
}

int main(int argc, char **argv)
{
    struct options options = {.run_dir = "/run/pollux", .timeout = 30, .worker = -1};
    setlocale(LC_ALL, "");
    int status = take_options(argc, argv, "+r:jf:s:n:wt:i:1aVh", &options);
    const int first = optind;
    if (status == 0 && first == argc) {
        status = run(0, argv + first, &options);
    } else if (status == 0) {
        char *word = argv[first];
        optind = 0; /* from anew, with the word's place for the program's name, which messages begin with */
        argv[first] = argv[0];
        status = take_options(argc - first, argv + first, letters_for(word), &options);
        char **words = argv + first + optind - 1;
        words[0] = word;
        if (status == 0)
            status = run(argc - first - optind + 1, words, &options);
        else if (status == 1)
            status = EXIT_OK;
    } else if (status == 1) {
        status = EXIT_OK;
    }
    json_decref(options.filter);
    json_decref(options.capture);
    return after_output(status);
}
