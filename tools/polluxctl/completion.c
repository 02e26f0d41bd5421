/* Shell completion: see tools/polluxctl/completion.h. */
#include "tools/polluxctl/completion.h"

#include <string.h>

static const char head[] =
    "# Completion of polluxctl for bash. Generated: polluxctl completion bash\n"
    "_polluxctl()\n"
    "{\n"
    "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
    "    local word verb= below= skip=\n"
    "    COMPREPLY=()\n"
    "    case $previous in\n"
    "    -r|--run-dir) COMPREPLY=($(compgen -d -- \"$current\")); return ;;\n"
    "    --write) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n"
    "    --direction) COMPREPLY=($(compgen -W 'in out both' -- \"$current\")); return ;;\n"
    "    -w) if [[ ${COMP_WORDS[*]} == *' ca'* ]]; then COMPREPLY=($(compgen -f -- \"$current\")); return; fi ;;\n"
    "    -s|--sort)\n"
    "        if [[ ${COMP_WORDS[*]} == *' to'* ]]; then COMPREPLY=($(compgen -W 'rate backlog' -- \"$current\")); fi\n"
    "        return ;;\n"
    "    -f|--filter|-n|--limit|-t|--timeout|-i|--interval|--worker|--to|--rate"
    "|--client|--address|--port|--packets|--bytes|--seconds|--snap-length) return ;;\n"
    "    esac\n"
    "    for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
    "        if [[ $skip ]]; then skip=; continue; fi\n"
    "        case $word in\n"
    "        -r|--run-dir|-f|--filter|-s|--sort|-n|--limit|-t|--timeout|-i|--interval|--worker|--to|--rate"
    "|--client|--address|--port|--packets|--bytes|--seconds|--snap-length|--write|--direction) skip=1 ;;\n"
    "        -*) ;;\n"
    "        *) if [[ $verb ]]; then below=$word; else verb=$word; fi ;;\n"
    "        esac\n"
    "    done\n"
    "    local words=\n"
    "    if [[ $current == -* ]]; then\n"
    "        words='--run-dir --json --version --help'\n";

static const char tail[] = "    fi\n"
                           "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
                           "}\n"
                           "complete -F _polluxctl polluxctl\n";

static void print_words(FILE *output, const struct verb *verbs, size_t count, const char *first)
{
    const char *before = "";
    for (size_t i = 0; i < count; i++) {
        const char *word = first ? verbs[i].words[1] : verbs[i].words[0];
        bool other = first && strcmp(verbs[i].words[0], first) != 0;
        bool repeated = !first && i > 0 && strcmp(verbs[i - 1].words[0], word) == 0;
        if (!word || other || repeated)
            continue;
        fprintf(output, "%s%s", before, word);
        before = " ";
    }
}

/* The options that a verb's usage and help name, each once. */
static void print_options(FILE *output, const struct verb *verb)
{
    char text[2048];
    snprintf(text, sizeof text, "%s %s", verb->usage, verb->help);
    for (const char *at = strstr(text, "--"); at; at = strstr(at + 2, "--")) {
        const int length = (int)(2 + strspn(at + 2, "abcdefghijklmnopqrstuvwxyz-"));
        char option[32];
        snprintf(option, sizeof option, "%.*s", length, at);
        if (strstr(text, option) == at)
            fprintf(output, " %s", option);
    }
}

/* Words may be cut short, so their beginnings are compared. */
static void print_options_of(FILE *output, const struct verb *verb)
{
    fprintf(output, "        if [[ $verb && %s == \"$verb\"*", verb->words[0]);
    if (verb->words[1])
        fprintf(output, " && %s == \"$below\"*", verb->words[1]);
    fputs(" ]]; then words+='", output);
    print_options(output, verb);
    fputs("'; fi\n", output);
}

void completion_print_bash(FILE *output, const struct verb *verbs, size_t count)
{
    fputs(head, output);
    for (size_t i = 0; i < count; i++)
        print_options_of(output, &verbs[i]);
    fputs("    elif [[ -z $verb ]]; then\n        words='", output);
    print_words(output, verbs, count, NULL);
    fputs("'\n", output);
    for (size_t i = 0; i < count; i++) {
        const char *first = verbs[i].words[0];
        if (!verbs[i].words[1] || (i > 0 && strcmp(verbs[i - 1].words[0], first) == 0))
            continue;
        fprintf(output, "    elif [[ -z $below && %s == \"$verb\"* ]]; then\n        words='", first);
        print_words(output, verbs, count, first);
        fputs("'\n", output);
    }
    fputs(tail, output);
}
