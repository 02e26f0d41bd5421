/*
 * Packet scripts: one stack, and a peer that the test plays by hand. Time stands still unless the script moves it.
 *
 * Sequence numbers in a script are relative: the peer's first byte is 1 (its SYN is 0), and so is ours. IPv4; the peer
 * is 198.18.0.2 port 4000, the stack 198.18.0.1 port 1883 (or an ephemeral port when it opens).
 */
#ifndef TESTS_SIM_SCRIPT_H
#define TESTS_SIM_SCRIPT_H

#include "lib/net/net.h"
#include "lib/net/tcp_options.h"

#include <stdbool.h>
#include <stdint.h>

enum { F = 0x01, S = 0x02, R = 0x04, P = 0x08, A = 0x10, E = 0x40, C = 0x80, SCRIPT_MSS = 1000, SCRIPT_OUT = 512 };

/* A segment that the stack sent. */
struct script_segment {
    uint64_t at;
    uint8_t flags;
    uint32_t sequence; /* relative */
    uint32_t ack;      /* relative */
    uint32_t window;   /* as in the header */
    uint32_t length;
    uint32_t raw_sequence;
    uint16_t port;      /* ours */
    uint8_t congestion; /* the two ECN bits */
    struct tcp_options options;
};

struct script {
    uint64_t now;
    struct net_config config;
    struct timer_wheel wheel;
    struct net_stack *stack;
    struct rte_mempool *pool;
    /* Another worker's stack, when script_second() made one: it gets ARP too, and what `stack` redirects. */
    struct net_stack *second;
    struct timer_wheel second_wheel;
    struct rte_mbuf *redirected[16];
    unsigned redirected_count;
    void (*divert)(struct script *s, const uint8_t *frame, uint32_t length); /* takes what the peer sends */
    bool hold_redirected;                                                    /* keep them until script_redirect() */
    /* What goes into the peer's SYN, and into its later segments when timestamps are on. */
    struct tcp_options peer;
    uint32_t peer_initial, our_initial;
    uint16_t our_port;
    uint8_t congestion; /* the two ECN bits of what the peer sends */
    uint32_t timestamp; /* the peer's clock, ms; script_wait() moves it */
    uint32_t timestamp_echo;
    struct script_segment out[SCRIPT_OUT];
    unsigned out_first, out_count;
    unsigned arp_out, icmp_out, other_out;
    bool quiet_arp; /* the peer does not answer ARP */
    bool transmit_full;
    /* The application. */
    struct tcp_connection *connection;
    bool accepted, connected, peer_closed, closed;
    unsigned readable_calls, writable_calls;
    enum tcp_close_reason reason;
    bool consume; /* read at once */
    uint32_t consumed;
    uint8_t last_byte;
    unsigned failures;
    const char *name;
};

void script_open(struct script *s, const char *name); /* defaults; change s->config, s->peer */
void script_listen(struct script *s);                 /* create the stack, listen */
void script_second(struct script *s);                 /* after script_listen() or script_establish() */
void script_redirect(struct script *s);               /* what was held back reaches the second stack */
void script_establish(struct script *s);              /* three steps, as the listener */
void script_close(struct script *s);                  /* end; checks that no mbuf is missing */
void script_turn(struct script *s);                   /* one iteration without input */
void script_wait(struct script *s, uint64_t us);      /* let time pass, firing timers in order */
void script_send_options(struct script *s, uint8_t flags, uint32_t sequence, uint32_t ack, uint16_t window,
                         uint32_t length, const struct tcp_options *options, const uint8_t *raw, size_t raw_length);
void script_send(struct script *s, uint8_t flags, uint32_t sequence, uint32_t ack, uint16_t window, uint32_t length);
void script_send_sack(struct script *s, uint32_t ack, uint16_t window, unsigned count,
                      const struct tcp_sack_block *blocks);
void script_frame(struct script *s, const uint8_t *frame, uint32_t length); /* anything */
/* The next segment out, or NULL. */
struct script_segment *script_next(struct script *s);
uint64_t script_counter(struct script *s, enum net_counter counter);
void script_check(struct script *s, bool good, const char *text, int line);

#define CHECK(s, condition) script_check(s, condition, #condition, __LINE__)
/* The next segment must be exactly this; -1 for a field: any. */
void script_expect(struct script *s, int flags, int64_t sequence, int64_t ack, int64_t length, int line);
#define EXPECT(s, flags, sequence, ack, length) script_expect(s, flags, sequence, ack, length, __LINE__)
#define EXPECT_NOTHING(s) script_check(s, (s)->out_first == (s)->out_count, "nothing is sent", __LINE__)

#endif
