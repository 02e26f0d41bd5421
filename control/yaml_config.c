/* Reading the configuration file: see control/yaml_config.h. */
#include "control/yaml_config.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <yaml.h>

#define FILE_SIZE_MAX (1u << 20) /* bytes */
#define MISTAKES_MAX 20u         /* later ones are usually consequences */

struct walk {
    const char *file;
    FILE *report;
    uint32_t mistakes;
    yaml_document_t *document;
    struct control_config *config;
    struct config_origin *origin;
};

static void __attribute__((format(printf, 3, 4)))
mistake(struct walk *walk, const yaml_node_t *node, const char *format, ...)
{
    if (walk->mistakes++ >= MISTAKES_MAX)
        return;
    if (node)
        fprintf(walk->report, "%s:%zu:%zu: ", walk->file, node->start_mark.line + 1, node->start_mark.column + 1);
    else
        fprintf(walk->report, "%s: ", walk->file);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(walk->report, format, arguments);
    va_end(arguments);
    fputc('\n', walk->report);
}

/* ---- nearest known name ---------------------------------------------------------------------------------------- */

#define NAME_MAX_LENGTH 40u

static uint32_t least(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t smaller = a < b ? a : b;
    return smaller < c ? smaller : c;
}

/* Levenshtein distance, row by row. */
static uint32_t distance(const char *a, const char *b)
{
    uint32_t row[NAME_MAX_LENGTH + 1];
    size_t columns = strlen(b);
    if (columns > NAME_MAX_LENGTH || strlen(a) > NAME_MAX_LENGTH)
        return UINT32_MAX;
    for (uint32_t j = 0; j <= columns; j++)
        row[j] = j;
    for (uint32_t i = 1; a[i - 1]; i++) {
        uint32_t diagonal = row[0];
        row[0] = i;
        for (uint32_t j = 1; j <= columns; j++) {
            uint32_t above = row[j];
            row[j] = least(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[columns];
}

struct suggestion {
    const char *name;
    uint32_t distance;
};

/* With more than half of its letters changed any word is any other. */
static void suggest(struct suggestion *best, const char *wanted, const char *known)
{
    uint32_t d = distance(wanted, known);
    size_t wanted_length = strlen(wanted);
    /* A name that somebody shortened or lengthened is meant too, however far it is. */
    if (d != UINT32_MAX && wanted_length >= 3 && (strstr(known, wanted) || strstr(wanted, known)))
        d = d < 2 ? d : 2;
    else if (d > wanted_length / 2)
        return;
    if (d < best->distance)
        *best = (struct suggestion){known, d};
}

static void unknown_section(struct walk *walk, const yaml_node_t *key, const char *name)
{
    struct suggestion best = {NULL, 4};
    char names[160];
    int length = 0;
    for (size_t i = 0; i < schema_section_count; i++)
        suggest(&best, name, schema_sections[i].name);
    for (size_t i = 0; i < schema_section_count && (size_t)length < sizeof names; i++)
        length +=
            snprintf(names + length, sizeof names - (size_t)length, "%s%s", i ? ", " : "", schema_sections[i].name);
    if (best.name)
        mistake(walk, key, "%.60s: there is no such section; did you mean '%s'?", name, best.name);
    else
        mistake(walk, key, "%.60s: there is no such section; sections are %s", name, names);
}

static void unknown_leaf(struct walk *walk, const yaml_node_t *key, const char *path, const char *name,
                         const struct schema_section *section)
{
    struct suggestion best = {NULL, 4};
    for (uint32_t i = 0; i < section->leaf_count; i++)
        suggest(&best, name, section->leaves[i].name);
    if (best.name) {
        mistake(walk, key, "%s.%.60s: there is no such setting; did you mean '%s'?", path, name, best.name);
        return;
    }
    for (size_t i = 0; i < schema_section_count; i++)
        for (uint32_t j = 0; j < schema_sections[i].leaf_count; j++)
            if (strcmp(schema_sections[i].leaves[j].name, name) == 0) {
                mistake(walk, key, "%s.%.60s: there is no such setting; '%s' belongs into section '%s'", path, name,
                        name, schema_sections[i].name);
                return;
            }
    mistake(walk, key, "%s.%.60s: there is no such setting; `pollux-control --reference` lists all", path, name);
}

/* ---- walking --------------------------------------------------------------------------------------------------- */

static yaml_node_t *node_at(struct walk *walk, int index)
{
    return yaml_document_get_node(walk->document, index);
}

/* The text of a scalar, or NULL (also when it holds a NUL byte: no setting does). */
static const char *scalar(const yaml_node_t *node)
{
    if (!node || node->type != YAML_SCALAR_NODE)
        return NULL;
    const char *text = (const char *)node->data.scalar.value;
    return strlen(text) == node->data.scalar.length ? text : NULL;
}

/* An empty value (`tcp:` with nothing behind it): the section is there, without settings. */
static bool is_empty(const yaml_node_t *node)
{
    return scalar(node) && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (node->data.scalar.length == 0 || strcmp(scalar(node), "~") == 0 || strcmp(scalar(node), "null") == 0);
}

static void take_scalar(struct walk *walk, const struct schema_section *section, const struct schema_leaf *leaf,
                        const char *path, const yaml_node_t *value, uint32_t item, void *base)
{
    struct shm_error error;
    char allowed[160];
    const char *text = scalar(value);
    if (!text || is_empty(value))
        mistake(walk, value, "%s.%s: needs a value; allowed: %s", path, leaf->name,
                schema_allowed(section, leaf, allowed, sizeof allowed));
    else if (schema_parse(section, leaf, text, item, base, &error) != 0)
        mistake(walk, value, "%s.%s: %s", path, leaf->name, error.text);
}

static void take_value(struct walk *walk, const struct schema_section *section, const struct schema_leaf *leaf,
                       const char *path, const yaml_node_t *value, void *base)
{
    char allowed[160];
    if (value->type != YAML_SEQUENCE_NODE) {
        take_scalar(walk, section, leaf, path, value, 0, base);
        return;
    }
    if (!schema_takes_list(leaf)) {
        mistake(walk, value, "%s.%s: takes one value, not a list; allowed: %s", path, leaf->name,
                schema_allowed(section, leaf, allowed, sizeof allowed));
        return;
    }
    uint32_t item = 0;
    for (yaml_node_item_t *at = value->data.sequence.items.start; at < value->data.sequence.items.top; at++)
        take_scalar(walk, section, leaf, path, node_at(walk, *at), item++, base);
    if (item == 0)
        mistake(walk, value, "%s.%s: the list is empty; allowed: %s", path, leaf->name,
                schema_allowed(section, leaf, allowed, sizeof allowed));
}

/* Sections are short: a linear search is as good as any. */
static const struct schema_leaf *find_leaf(const struct schema_section *section, const char *name)
{
    for (uint32_t i = 0; i < section->leaf_count; i++)
        if (strcmp(section->leaves[i].name, name) == 0)
            return &section->leaves[i];
    return NULL;
}

/* Reported at the entry's own place: that is where the line has to be added. */
static void check_required(struct walk *walk, const struct schema_section *section, const char *path,
                           const yaml_node_t *map, const uint32_t *seen)
{
    char allowed[160];
    for (uint32_t i = 0; i < section->leaf_count; i++)
        if (section->leaves[i].required && !seen[i])
            mistake(walk, map, "%s.%s: is missing; allowed: %s", path, section->leaves[i].name,
                    schema_allowed(section, &section->leaves[i], allowed, sizeof allowed));
}

/* One map of settings: a section, or an entry of a list section. */
static void take_map(struct walk *walk, const struct schema_section *section, const char *path, const yaml_node_t *map,
                     uint32_t index)
{
    uint32_t seen[SCHEMA_LEAVES_MAX] = {0};
    void *base = schema_base(section, walk->config, index);
    if (map->type != YAML_MAPPING_NODE) {
        mistake(walk, map, "%s: needs settings of the form 'name: value'", path);
        return;
    }
    for (yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = node_at(walk, pair->key);
        const char *name = scalar(key);
        const struct schema_leaf *leaf = name ? find_leaf(section, name) : NULL;
        if (!leaf) {
            unknown_leaf(walk, key, path, name ? name : "(not a name)", section);
            continue;
        }
        uint32_t *line = &seen[leaf - section->leaves];
        if (*line != 0)
            mistake(walk, key, "%s.%s: is set twice, first in line %u", path, name, *line);
        *line = (uint32_t)key->start_mark.line + 1;
        take_value(walk, section, leaf, path, node_at(walk, pair->value), base);
    }
    check_required(walk, section, path, map, seen);
    if (walk->origin)
        memcpy(walk->origin->lines[section - schema_sections][index], seen, sizeof seen);
}

static void take_list(struct walk *walk, const struct schema_section *section, const yaml_node_t *list)
{
    uint32_t count = 0;
    if (list->type != YAML_SEQUENCE_NODE) {
        mistake(walk, list, "%s: needs a list: each entry starts with '- '", section->name);
        return;
    }
    for (yaml_node_item_t *at = list->data.sequence.items.start; at < list->data.sequence.items.top; at++) {
        char path[SCHEMA_PATH_SIZE];
        snprintf(path, sizeof path, "%s[%u]", section->name, count);
        if (count == section->maximum) {
            mistake(walk, node_at(walk, *at), "%s: more than %u entries", section->name, section->maximum);
            return;
        }
        schema_set_defaults(section, schema_base(section, walk->config, count));
        take_map(walk, section, path, node_at(walk, *at), count++);
    }
    if (strcmp(section->name, "ports") == 0)
        walk->config->dataplane.port_count = count;
    else
        walk->config->dataplane.listener_count = count;
}

static const struct schema_section *find_section(const char *name)
{
    for (size_t i = 0; i < schema_section_count; i++)
        if (strcmp(schema_sections[i].name, name) == 0)
            return &schema_sections[i];
    return NULL;
}

static void take_root(struct walk *walk, const yaml_node_t *root)
{
    bool seen[SCHEMA_SECTIONS_MAX] = {false};
    if (!root || root->type != YAML_MAPPING_NODE) {
        mistake(walk, root,
                "needs sections such as 'ports:' and 'listeners:'; `pollux-control --example-config` prints "
                "an example");
        return;
    }
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = node_at(walk, pair->key);
        const yaml_node_t *value = node_at(walk, pair->value);
        const char *name = scalar(key);
        const struct schema_section *section = name ? find_section(name) : NULL;
        if (!section) {
            unknown_section(walk, key, name ? name : "(not a name)");
            continue;
        }
        if (seen[section - schema_sections])
            mistake(walk, key, "%s: the section is there twice", name);
        seen[section - schema_sections] = true;
        if (section->list)
            take_list(walk, section, value);
        else if (!is_empty(value))
            take_map(walk, section, name, value, 0);
    }
}

static void not_yaml(struct walk *walk, const yaml_parser_t *parser)
{
    walk->mistakes++;
    fprintf(walk->report, "%s:%zu:%zu: not valid YAML: %s%s%s\n", walk->file, parser->problem_mark.line + 1,
            parser->problem_mark.column + 1, parser->context ? parser->context : "", parser->context ? ", " : "",
            parser->problem ? parser->problem : "cannot be read");
}

/* What stands behind the first document would count for nothing, and nobody would know. */
static void check_end(struct walk *walk, yaml_parser_t *parser)
{
    yaml_document_t document;
    if (!yaml_parser_load(parser, &document)) {
        not_yaml(walk, parser);
        return;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root)
        mistake(walk, root, "a second document; a configuration is one: take the '---' before it away");
    yaml_document_delete(&document);
}

/* The document is loaded as a whole, because messages need the places of keys and values. Aliases make nodes shared,
 * even circular; the walk follows the schema, whose depth is fixed, so it ends. */
static void load_and_walk(struct walk *walk, const char *text, size_t length)
{
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) {
        mistake(walk, NULL, "no memory");
        return;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
    if (yaml_parser_load(&parser, &document)) {
        walk->document = &document;
        take_root(walk, yaml_document_get_root_node(&document));
        yaml_document_delete(&document);
        check_end(walk, &parser);
    } else {
        not_yaml(walk, &parser);
    }
    yaml_parser_delete(&parser);
}

/* ---- what only the whole configuration shows --------------------------------------------------------------------- */

/* The line of the setting, or of the entry's name, that the sentence begins with; 0: the file has none. */
static uint32_t line_of(const struct walk *walk, const char *sentence)
{
    const struct shm_config *config = &walk->config->dataplane;
    for (size_t i = 0; walk->origin && i < schema_section_count; i++)
        for (uint32_t j = 0; j < schema_sections[i].leaf_count; j++) {
            char begin[SCHEMA_PATH_SIZE];
            snprintf(begin, sizeof begin, "%s.%s:", schema_sections[i].name, schema_sections[i].leaves[j].name);
            if (!schema_sections[i].list && strncmp(sentence, begin, strlen(begin)) == 0)
                return walk->origin->lines[i][0][j];
            if (!schema_sections[i].list || strcmp(schema_sections[i].leaves[j].name, "name") != 0)
                continue;
            const bool ports = strcmp(schema_sections[i].name, "ports") == 0;
            for (uint32_t index = 0; index < (ports ? config->port_count : config->listener_count); index++) {
                snprintf(begin, sizeof begin, "%s %s:", ports ? "port" : "listener",
                         ports ? config->ports[index].name : config->listeners[index].name);
                if (strncmp(sentence, begin, strlen(begin)) == 0)
                    return walk->origin->lines[i][index][j];
            }
        }
    return 0;
}

static void check_whole(struct walk *walk)
{
    struct shm_error error;
    if (shm_config_validate(&walk->config->dataplane, &error) == 0)
        return;
    const uint32_t line = line_of(walk, error.text);
    walk->mistakes++;
    if (line)
        fprintf(walk->report, "%s:%u: %s\n", walk->file, line, error.text);
    else
        fprintf(walk->report, "%s: %s\n", walk->file, error.text);
}

int yaml_config_read(FILE *input, const char *name, struct control_config *config, struct config_origin *origin,
                     FILE *report)
{
    static char text[FILE_SIZE_MAX + 1];
    struct walk walk = {.file = name, .report = report, .config = config, .origin = origin};
    memset(config, 0, sizeof *config);
    if (origin)
        memset(origin, 0, sizeof *origin);
    config->dataplane.generation = 1;
    for (size_t i = 0; i < schema_section_count; i++)
        if (!schema_sections[i].list)
            schema_set_defaults(&schema_sections[i], config);
    size_t length = fread(text, 1, sizeof text, input);
    if (ferror(input))
        mistake(&walk, NULL, "cannot be read: %s", strerror(errno));
    else if (length > FILE_SIZE_MAX)
        mistake(&walk, NULL, "larger than %u bytes", FILE_SIZE_MAX);
    else
        load_and_walk(&walk, text, length);
    if (walk.mistakes == 0)
        check_whole(&walk);
    if (walk.mistakes > MISTAKES_MAX)
        fprintf(report, "%s: %u more mistakes\n", name, walk.mistakes - MISTAKES_MAX);
    config->dataplane.authentication.users = config->users_file[0] != '\0';
    config->dataplane.fingerprint = shm_config_fingerprint(&config->dataplane);
    return walk.mistakes == 0 ? 0 : -1;
}
