/* The schema of the configuration file: every setting with its type, default and help text.
 *
 * Job: the one table that the YAML reader, `--example-config`, `--reference` and `show config` are driven by. Ranges of
 * numbers stand in lib/shm/config.c under the same path, because the dataplane checks them too. The YANG model will
 * take this table's place; nothing outside of control/ sees it.
 *
 * Constant data: any thread. */
#ifndef POLLUX_CONTROL_SCHEMA_H
#define POLLUX_CONTROL_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/shm/config.h"

enum schema_type {
    SCHEMA_NUMBER,
    SCHEMA_BYTES,        /* 1024, 64KiB, 256MiB, 2GiB */
    SCHEMA_SECONDS,      /* 90, 90s, 15m, 2h, 7d */
    SCHEMA_MILLISECONDS, /* 100, 100ms, 2s */
    SCHEMA_BOOLEAN,      /* true, false */
    SCHEMA_ENUM,         /* one of `names`; the value is its position */
    SCHEMA_NAME,         /* text into a char array of `size` bytes at `offset` */
    SCHEMA_MAC,          /* 02:00:00:00:00:01 */
    SCHEMA_CORE,         /* auto or a core number */
    SCHEMA_CORES,        /* auto or a list of core numbers */
    SCHEMA_ADDRESS,      /* any or one IP address */
    SCHEMA_ADDRESSES,    /* a list of addresses with prefix length */
    SCHEMA_GATEWAYS,     /* one IP address, or a list of one for each family */
    SCHEMA_ORIGINS,      /* one origin of web pages, or a list of them */
};

struct schema_leaf {
    const char *name;
    enum schema_type type;
    bool required;
    const char *initial; /* the default as it would be written; NULL: none */
    const char *word;    /* a word that stands for `word_value`, such as "off"; NULL: none */
    uint64_t word_value;
    const char *const *names; /* of SCHEMA_ENUM, ends with NULL */
    uint32_t offset;          /* of SCHEMA_NAME, in the section's struct */
    uint32_t size;
    const char *example; /* shown in the example configuration instead of the default; NULL: the default */
    const char *help;    /* one or two sentences */
};

struct schema_section {
    const char *name;
    bool list;        /* a list of such maps */
    uint32_t maximum; /* entries of the list */
    const char *help;
    const struct schema_leaf *leaves;
    uint32_t leaf_count;
};

/* Everything that the file says. */
struct control_config {
    struct shm_config dataplane; /* handed to the dataplane; what schema_base gives for most sections */
    char users_file[256];        /* control's own: who may log in; empty: nobody has to */
};

#define SCHEMA_LEAVES_MAX 64u /* in one section */
#define SCHEMA_SECTIONS_MAX 8u
#define SCHEMA_PATH_SIZE 64u

extern const struct schema_section schema_sections[];
extern const size_t schema_section_count;

/* The range of a number, boolean or enumeration; NULL for other types. */
const struct shm_config_field *schema_field(const struct schema_section *section, const struct schema_leaf *leaf);

/* The struct that entry `index` of a section fills: the config itself, a port or a listener. */
void *schema_base(const struct schema_section *section, struct control_config *config, uint32_t index);

/* What is allowed, for people: "0..65535", "one of adaptive, busy", "4KiB..1GiB". Returns `text`. */
const char *schema_allowed(const struct schema_section *section, const struct schema_leaf *leaf, char *text,
                           size_t size);

/* Parse one scalar into the config. Types with lists take one item: `item` counts from 0. Returns 0, or -1 with what is
 * allowed and what to do in `error` (without the setting's name). */
int schema_parse(const struct schema_section *section, const struct schema_leaf *leaf, const char *text, uint32_t item,
                 void *base, struct shm_error *error);

/* Parse an IPv4 or IPv6 address, with or without "/prefix". False: it is none. */
bool schema_parse_address(const char *text, bool with_prefix, struct shm_address *address);

/* The value as it would be written in the file, on one line. Returns `text`. */
const char *schema_format(const struct schema_section *section, const struct schema_leaf *leaf, const void *base,
                          char *text, size_t size);

/* The type, for people: "number", "size in bytes", "duration". */
const char *schema_type_name(enum schema_type type);

/* May the value be a list? */
bool schema_takes_list(const struct schema_leaf *leaf);

/* Fill in every default of a section's entry. */
void schema_set_defaults(const struct schema_section *section, void *base);

#endif
