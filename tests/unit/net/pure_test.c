/* Pure functions of lib/net: options, sequence arithmetic, hashes, prefixes, the flow table. */
#include "lib/net/address.h"
#include "lib/net/flow_table.h"
#include "lib/net/hash.h"
#include "lib/net/net.h"
#include "lib/net/tcp_options.h"
#include "lib/net/tcp_sequence.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(net_sequence, wraps)
{
    cr_assert(sequence_before(0xfffffff0u, 0x10));
    cr_assert(sequence_after(0x10, 0xfffffff0u));
    cr_assert(!sequence_before(5, 5));
    cr_assert(!sequence_after(5, 5));
    cr_assert(sequence_before(0x7fffffffu, 0x80000000u));
}

Test(net_options, all_of_a_syn_round_trip)
{
    struct tcp_options in = {.mss = 1460,
                             .has_scale = true,
                             .scale = 7,
                             .sack_permitted = true,
                             .has_timestamp = true,
                             .timestamp = 0x01020304,
                             .timestamp_echo = 0x05060708};
    struct tcp_options out;
    uint8_t bytes[TCP_OPTIONS_MAX];
    size_t length = tcp_options_write_syn(bytes, &in);

    cr_assert_eq(length % 4, 0);
    cr_assert_leq(length, TCP_OPTIONS_MAX);
    cr_assert(tcp_options_parse(bytes, length, true, &out));
    cr_assert_eq(out.mss, 1460);
    cr_assert_eq(out.scale, 7);
    cr_assert(out.sack_permitted && out.has_scale && out.has_timestamp);
    cr_assert_eq(out.timestamp, 0x01020304);
    cr_assert_eq(out.timestamp_echo, 0x05060708);
}

Test(net_options, sack_blocks_round_trip)
{
    struct tcp_sack_block blocks[3] = {{1, 2}, {0xfffffffe, 5}, {7, 9}};
    struct tcp_options out;
    uint8_t bytes[TCP_OPTIONS_MAX];
    size_t length = tcp_options_write_sack(bytes, blocks, 3);

    cr_assert(tcp_options_parse(bytes, length, false, &out));
    cr_assert_eq(out.sack_count, 3);
    cr_assert_eq(out.sack[1].start, 0xfffffffe);
    cr_assert_eq(out.sack[1].end, 5);
}

Test(net_options, bad_lengths)
{
    static const struct {
        uint8_t bytes[12];
        size_t length;
    } cases[] = {
        {{2}, 1},             /* no length byte */
        {{2, 0, 5, 180}, 4},  /* length 0: would never end */
        {{2, 1, 5, 180}, 4},  /* length 1: underflow */
        {{2, 40, 5, 180}, 4}, /* beyond the header */
        {{2, 3, 5, 1}, 4},    /* MSS of the wrong size */
        {{3, 2, 1, 1}, 4},    /* scale too short */
        {{8, 9, 1, 1, 1, 1, 1, 1, 1}, 9},
        {{5, 2, 1, 1}, 4}, /* SACK without a block */
        {{5, 9, 1, 1, 1, 1, 1, 1, 1}, 9},
        {{1, 1, 1, 8}, 4}, /* kind in the last byte */
        {{200, 0}, 2},
    };
    struct tcp_options out;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t *exact = malloc(cases[i].length); /* its own allocation, so that a sanitizer sees a read beyond */
        memcpy(exact, cases[i].bytes, cases[i].length);
        cr_assert(!tcp_options_parse(exact, cases[i].length, true, &out), "case %zu", i);
        free(exact);
    }
}

Test(net_options, unknown_skipped)
{
    const uint8_t bytes[] = {254, 6, 1, 2, 3, 4, 30, 2, 2, 4, 0x05, 0xb4};
    struct tcp_options out;

    cr_assert(tcp_options_parse(bytes, sizeof bytes, true, &out));
    cr_assert_eq(out.mss, 1460);
}

Test(net_options, scale_above_14)
{
    const uint8_t bytes[] = {3, 3, 200, 0};
    struct tcp_options out;

    cr_assert(tcp_options_parse(bytes, sizeof bytes, true, &out));
    cr_assert_eq(out.scale, 14);
}

Test(net_options, syn_options_count_in_a_syn_only)
{
    const uint8_t bytes[] = {2, 4, 5, 180, 4, 2, 3, 3, 7, 0};
    struct tcp_options out;

    cr_assert(tcp_options_parse(bytes, sizeof bytes, false, &out));
    cr_assert_eq(out.mss, 0);
    cr_assert(!out.sack_permitted);
    cr_assert(!out.has_scale);
}

Test(net_options, end_of_list_ends)
{
    const uint8_t bytes[] = {1, 0, 2, 0};
    struct tcp_options out;

    cr_assert(tcp_options_parse(bytes, sizeof bytes, true, &out));
}

Test(net_hash, siphash_vector)
{
    /* The reference vector of the SipHash paper: key 00..0f, message 00..0e. */
    uint8_t bytes[16], message[15];
    uint64_t key[2];

    for (unsigned i = 0; i < 16; i++)
        bytes[i] = (uint8_t)i;
    memcpy(key, bytes, 16);
    memcpy(message, bytes, 15);
    cr_assert_eq(hash_sip(key, message, 15), UINT64_C(0xa129ca6149be45e5));
}

Test(net_hash, toeplitz_vector)
{
    /* From Microsoft's RSS verification suite: 66.9.149.187:2794 -> 161.142.100.80:1766. */
    struct net_config config;
    struct net_flow flow = {.remote_port = 2794, .local_port = 1766};
    const uint8_t remote[4] = {66, 9, 149, 187}, local[4] = {161, 142, 100, 80};
    uint32_t word;

    net_config_defaults(&config);
    memcpy(&word, remote, 4);
    flow.remote = net_address_ip4(word);
    memcpy(&word, local, 4);
    flow.local = net_address_ip4(word);
    cr_assert_eq(net_flow_hash(&flow, config.rss_key), 0x51ccc178);
}

Test(net_address, prefixes)
{
    const uint8_t inside[4] = {198, 18, 0, 77}, outside[4] = {198, 18, 1, 77}, base[4] = {198, 18, 0, 1};
    uint32_t word;
    struct net_prefix prefix = {.length = 24};
    struct net_address address;

    memcpy(&word, base, 4);
    prefix.address = net_address_ip4(word);
    memcpy(&word, inside, 4);
    address = net_address_ip4(word);
    cr_assert(net_prefix_contains(&prefix, &address));
    memcpy(&word, outside, 4);
    address = net_address_ip4(word);
    cr_assert(!net_prefix_contains(&prefix, &address));
    prefix.length = 23;
    cr_assert(net_prefix_contains(&prefix, &address));
    cr_assert(!net_prefix_contains(&(struct net_prefix){NET_ADDRESS_ANY, 0}, &address),
              "IPv6 default and IPv4 address");
}

/* Against a plain array: whatever was inserted and not removed is found, nothing else. */
Test(net_flow_table, random_operations)
{
    enum { RECORDS = 3000 };
    static bool present[RECORDS];
    static uint32_t hashes[RECORDS];
    struct flow_table table = {.mask = flow_table_slots(RECORDS) - 1};
    unsigned random = 7;

    table.slots = calloc(table.mask + 1u, sizeof *table.slots);
    for (unsigned step = 0; step < 200000; step++) {
        random = random * 1664525 + 1013904223;
        unsigned i = (random >> 8) % RECORDS;
        if (!present[i]) {
            hashes[i] = random % 5 ? random * 2654435761u : 0xffffffff - random % 3; /* some collide, some wrap round */
            flow_table_insert(&table, hashes[i], flow_reference(FLOW_TIME_WAIT, i));
        } else {
            flow_table_remove(&table, hashes[i], flow_reference(FLOW_TIME_WAIT, i));
        }
        present[i] = !present[i];
    }
    for (unsigned i = 0; i < RECORDS; i++) {
        uint32_t position = hashes[i], reference;
        bool found = false;
        while ((reference = flow_table_candidate(&table, hashes[i], &position)) != 0)
            found = found || reference == flow_reference(FLOW_TIME_WAIT, i);
        cr_assert_eq(found, present[i], "record %u", i);
    }
    free(table.slots);
}

/* What hosts may expect of the times, unless an operator says otherwise. */
Test(net_defaults, times_of_the_standards)
{
    struct net_config config;

    net_config_defaults(&config);
    cr_assert_geq(config.keepalive_idle_us, UINT64_C(2) * 3600 * 1000000); /* RFC 9293 MUST-28 */
    cr_assert_lt(config.delayed_ack_us, 500000u);                          /* MUST-40 */
    cr_assert_geq(config.user_timeout_us, 100u * 1000000);                 /* SHLD-11 */
    cr_assert_geq(config.time_wait_us, 60u * 1000000);                     /* MUST-13 with an MSL of 30 s */
    cr_assert_gt(config.keepalive_probes, 1u);                             /* MUST-29 */
}

/* The budget of an idle connection in lib/net, its share of the flow table included (timers are inside the connection).
 */
Test(net_sizes, idle_connection_within_400_bytes)
{
    struct net_sizes sizes;

    net_sizes(&sizes);
    cr_assert_leq(sizes.connection + sizes.flow_slots_per_connection, 400);
    cr_assert_leq(sizes.time_wait, 80);
    cr_assert_leq(sizes.half_open, 128);
    cr_assert_leq(sizes.moved_flow, 56);
}
