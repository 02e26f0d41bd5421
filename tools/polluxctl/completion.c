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
    "    -f|--filter|-s|--sort|-n|--limit|-t|--timeout|-i|--interval|--worker|--to|--rate"
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
    "        words='--run-dir --json --filter --sort --limit --wide --timeout --interval --once --all --worker --to "
    "--permanent "
    "--rate --stop --write --client --address --port --direction --packets --bytes --seconds "
    "--snap-length --version --help'\n";

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

void completion_print_bash(FILE *output, const struct verb *verbs, size_t count)
{
    fputs(head, output);
    fputs("    elif [[ -z $verb ]]; then\n        words='", output);
    print_words(output, verbs, count, NULL);
    fputs("'\n", output);
    for (size_t i = 0; i < count; i++) {
        const char *first = verbs[i].words[0];
        if (!verbs[i].words[1] || (i > 0 && strcmp(verbs[i - 1].words[0], first) == 0))
            continue;
        /* The verb may be cut short, so its beginning is compared. */
        fprintf(output, "    elif [[ -z $below && %s == \"$verb\"* ]]; then\n        words='", first);
        print_words(output, verbs, count, first);
        fputs("'\n", output);
    }
    fputs(tail, output);
}
