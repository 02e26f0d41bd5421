/*
 * Topic names and topic filters: limits, validation, levels, hashes.
 *
 * Job:     what every table of lib/topic needs to know of a topic name or a filter, computed once and passed around.
 * Callers: the dataplane (session logic, routing) and the other files of lib/topic.
 * Thread:  any; nothing is shared, nothing is allocated. Text is never copied: it must outlive the struct that points
 * to it.
 *
 * MQTT 5.0 section 4.7 (MQTT 3.1.1 section 4.7), shared subscriptions section 4.8.2. Text is UTF-8 that the codec has
 * checked already; here bytes are compared as they are [MQTT-4.7.3-4].
 */
#ifndef POLLUX_LIB_TOPIC_NAME_H
#define POLLUX_LIB_TOPIC_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Hard bound on levels, whatever the limits say: it sizes the arrays below and the stack of a match. */
#define TOPIC_LEVELS_MAX 128u

/* What a function of lib/topic answers where more than one thing can go wrong. */
enum topic_status {
    TOPIC_OK = 0,
    TOPIC_INVALID,   /* the text breaks a rule of section 4.7 or 4.8.2 (reason code 0x8F / 0x90) */
    TOPIC_TOO_LONG,  /* longer than the limit (0x8F / 0x90, or 0x97 as policy) */
    TOPIC_TOO_DEEP,  /* more levels than the limit */
    TOPIC_FULL,      /* a configured count or byte bound is reached (0x97) */
    TOPIC_NO_MEMORY, /* the allocator has none (0x97) */
    TOPIC_NOT_FOUND, /* nothing to remove (0x11 in UNSUBACK) */
    TOPIC_BUSY,      /* the reclamation backlog is full: try again after a grace period */
};

/* Bounds on text from the network. Zero in a field means the hard bound. */
struct topic_limits {
    uint16_t levels; /* 1 .. TOPIC_LEVELS_MAX */
    uint16_t length; /* bytes, up to 65,535 (the protocol's own bound) */
};

/* 128 random bits, drawn once at start. All tables that a topic_name is matched against must share one seed. */
struct topic_seed {
    uint64_t key[2];
    uint64_t weaken; /* bits of every hash to clear: 0, but tests set some to see what collisions do */
};

/*
 * A topic name prepared for matching: hashed as a whole, cut into levels; the hash of a level is computed when a table
 * first needs it. About 1.3 KiB: keep one a worker and set it anew for each message.
 */
struct topic_name {
    const char *text;
    uint32_t length;
    uint16_t levels;
    uint16_t tokens_hashed; /* levels [0, tokens_hashed) have their hash */
    uint64_t hash;          /* SipHash-1-3 of the whole name */
    struct topic_seed seed;
    uint16_t starts[TOPIC_LEVELS_MAX + 1]; /* level i is [starts[i], starts[i + 1] - 1) */
    uint64_t tokens[TOPIC_LEVELS_MAX];
};

/* A filter taken apart. For "$share/name/rest" group is "name" and filter is "rest"; otherwise group_length is 0. */
struct topic_filter_name {
    const char *filter;
    const char *group;
    uint16_t filter_length;
    uint16_t group_length;
    uint16_t levels; /* of filter */
    bool wildcard;   /* filter has '+' or '#' */
};

/* Prepare a topic name. TOPIC_INVALID (empty, wildcard characters), TOPIC_TOO_LONG or TOPIC_TOO_DEEP leave it unset. */
enum topic_status topic_name_set(struct topic_name *name, const struct topic_seed *seed,
                                 const struct topic_limits *limits, const char *text, size_t length);

/* Hash of level `level` of a prepared name. */
uint64_t topic_name_token(struct topic_name *name, unsigned level);

/* Check a filter and take it apart. Limits apply to the filter without "$share/name/". */
enum topic_status topic_filter_parse(struct topic_filter_name *parsed, const struct topic_limits *limits,
                                     const char *text, size_t length);

/* SipHash-1-3 of bytes. Exported for tests and for callers that need a hash that clients cannot steer. */
uint64_t topic_hash(const struct topic_seed *seed, const void *bytes, size_t length);

/*
 * Identity of a shared subscription group ("$share/name/filter"), the same on every worker and in the shared table: a
 * hash over name and filter. With 64 seeded bits two groups do not meet in practice.
 */
uint64_t topic_group_id(const struct topic_seed *seed, const struct topic_filter_name *parsed);

/* Does a topic name match a filter? The plain definition of section 4.7, level by level; for access rules and tests. */
bool topic_filter_matches(const char *filter, size_t filter_length, const char *topic, size_t topic_length);

#endif
