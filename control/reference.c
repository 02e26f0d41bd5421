/* Example configuration and reference page: see control/reference.h. */
#include "control/reference.h"

#include <string.h>

#include "control/schema.h"

#define COMMENT_COLUMNS 100

/* Print `text` as comment lines of at most COMMENT_COLUMNS. */
static void print_comment(FILE *output, const char *indent, const char *text)
{
    int column = fprintf(output, "%s#", indent);
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (column + 1 + word > COMMENT_COLUMNS) {
            fputc('\n', output);
            column = fprintf(output, "%s#", indent);
        }
        column += fprintf(output, " %.*s", word, text);
        text += word;
        text += strspn(text, " ");
    }
    fputc('\n', output);
}

static void print_example_leaf(FILE *output, const struct schema_section *section, const struct schema_leaf *leaf,
                               bool first)
{
    char allowed[160];
    const char *indent = section->list ? "    " : "  ";
    const char *value = leaf->example ? leaf->example : leaf->initial;
    const char *dash = section->list && first ? "  - " : indent;
    print_comment(output, indent, leaf->help);
    print_comment(output, indent, schema_allowed(section, leaf, allowed, sizeof allowed));
    if (value)
        fprintf(output, "%s%s: %s\n", dash, leaf->name, value);
    else
        fprintf(output, "%s# %s:\n", indent, leaf->name);
}

void reference_print_example(FILE *output)
{
    fputs(
        "# Configuration of Pollux. Only ports, and listeners, must be given; every other value below is its default.\n"
        "# Check a change with: pollux-control --check --config FILE\n",
        output);
    for (size_t i = 0; i < schema_section_count; i++) {
        const struct schema_section *section = &schema_sections[i];
        fputc('\n', output);
        print_comment(output, "", section->help);
        fprintf(output, "%s:\n", section->name);
        for (uint32_t j = 0; j < section->leaf_count; j++)
            print_example_leaf(output, section, &section->leaves[j], j == 0);
    }
}

static void print_row(FILE *output, const struct schema_section *section, const struct schema_leaf *leaf)
{
    char allowed[160];
    fprintf(output, "| `%s` | %s | %s | ", leaf->name, schema_type_name(leaf->type),
            schema_allowed(section, leaf, allowed, sizeof allowed));
    if (leaf->initial)
        fprintf(output, "`%s`", leaf->initial);
    else
        fputs(leaf->required ? "must be given" : "none", output);
    fprintf(output, " | %s |\n", leaf->help);
}

void reference_print_page(FILE *output)
{
    fputs(
        "# Configuration file\n\n"
        "<!-- Generated: `pollux-control --reference > docs/reference/configuration.md`. A test holds it up to date. "
        "-->\n\n"
        "`pollux-control --config FILE` reads this file at start-up and hands it to the dataplane. It is YAML. "
        "`pollux-control --example-config`\nprints a complete file with comments, `pollux-control --check --config "
        "FILE` "
        "says what is wrong with one, and\n`polluxctl show config` prints every value in force and where it comes "
        "from.\n\n"
        "Sizes are bytes, or a number with KiB, MiB, GiB or TiB. Durations are seconds, or a number with s, m, h or d; "
        "those with ms in\ntheir range are milliseconds, or a number with ms or s. Enclose IPv6 addresses in "
        "quotes.\n\n"
        "The smallest useful file:\n\n"
        "```yaml\n"
        "ports:\n"
        "  - name: lan0\n"
        "    device: net_af_xdp0,iface=eth1\n"
        "    addresses: [198.18.0.1/24, \"2001:db8:18::1/64\"]\n"
        "listeners:\n"
        "  - name: mqtt\n"
        "```\n",
        output);
    for (size_t i = 0; i < schema_section_count; i++) {
        const struct schema_section *section = &schema_sections[i];
        fprintf(output, "\n## %s\n\n%s", section->name, section->help);
        if (section->list)
            fprintf(output, " A list of up to %u entries.", section->maximum);
        fputs("\n\n| setting | type | allowed | default | |\n|---|---|---|---|---|\n", output);
        for (uint32_t j = 0; j < section->leaf_count; j++)
            print_row(output, section, &section->leaves[j]);
    }
}
