/*
 * The layout of a connection and of a segment's metadata.
 *
 * Applications see it only because the hot path of tcp.h is inline: nothing outside lib/net reads or writes a field.
 * Threads and memory: the owning stack's. A connection is an element of an array made in net_stack_create(), never
 * moved.
 *
 * Sequence numbers are in host byte order, compared modulo 2^32 (tcp_sequence.h). Deadlines are 32-bit timer ticks of
 * 128 us (0: not set); times of segments are the low 32 bits of `now` in microseconds. Names of RFC 9293 stand beside
 * the fields.
 */
#ifndef LIB_NET_TCP_CONNECTION_H
#define LIB_NET_TCP_CONNECTION_H

#include "lib/net/address.h"
#include "lib/timer/timer.h"

#include <stdint.h>

struct net_stack;

enum tcp_state {
    TCP_STATE_CLOSED,
    TCP_STATE_LISTEN, /* only for names: a listener is no connection */
    TCP_STATE_SYN_SENT,
    TCP_STATE_SYN_RECEIVED, /* simultaneous open; half-open passive connections are compact records elsewhere */
    TCP_STATE_ESTABLISHED,
    TCP_STATE_FIN_WAIT_1,
    TCP_STATE_FIN_WAIT_2,
    TCP_STATE_CLOSE_WAIT,
    TCP_STATE_CLOSING,
    TCP_STATE_LAST_ACK,
    TCP_STATE_TIME_WAIT, /* finished on the wire (a compact record stands in), but not yet read to the end */
};

/* Bits of tcp_connection.flags. */
enum tcp_flag {
    TCP_FLAG_TOUCHED = 1 << 0,     /* in the list that net_output() walks */
    TCP_FLAG_DELIVER = 1 << 1,     /* in the list that net_deliver() walks */
    TCP_FLAG_ACK_NOW = 1 << 2,     /* the next net_output() acknowledges */
    TCP_FLAG_ACK_DELAYED = 1 << 3, /* something unacknowledged was received */
    TCP_FLAG_TIMESTAMPS = 1 << 4,  /* both sides sent the option */
    TCP_FLAG_SACK = 1 << 5,        /* both sides permitted it */
    TCP_FLAG_SCALED = 1 << 6,      /* window scaling in force */
    TCP_FLAG_ECN = 1 << 7,         /* negotiated */
    TCP_FLAG_ECN_ECHO = 1 << 8,    /* congestion seen: ECE on every ACK until CWR */
    TCP_FLAG_ECN_REDUCED = 1 << 9, /* window reduced: CWR on the next new data */
    TCP_FLAG_FIN_QUEUED = 1 << 10, /* the application finished sending; a segment with FIN is in the queue */
    TCP_FLAG_FIN_WANTED = 1 << 11, /* ditto, but no mbuf was to be had yet */
    TCP_FLAG_FIN_SENT = 1 << 12,
    TCP_FLAG_FIN_RECEIVED = 1 << 13,   /* in order: no more bytes will come */
    TCP_FLAG_DETACHED = 1 << 14,       /* tcp_close(): incoming bytes are thrown away, no callback but closed */
    TCP_FLAG_WANT_WRITE = 1 << 15,     /* a reservation was refused */
    TCP_FLAG_EVENT_ACCEPTED = 1 << 16, /* callbacks due */
    TCP_FLAG_EVENT_CONNECTED = 1 << 17,
    TCP_FLAG_EVENT_READABLE = 1 << 18,
    TCP_FLAG_EVENT_WRITABLE = 1 << 19,
    TCP_FLAG_EVENT_PEER_CLOSED = 1 << 20,
    TCP_FLAG_EVENT_CLOSED = 1 << 21,
    TCP_FLAG_PEER_CLOSED_TOLD = 1 << 22,
    TCP_FLAG_PROBED = 1 << 23,       /* a tail loss probe is outstanding (RFC 8985 section 7) */
    TCP_FLAG_PROBE_RESENT = 1 << 24, /* and it was a retransmission */
    TCP_FLAG_REORDERING = 1 << 25,   /* reordering was seen (RFC 8985 section 6.2) */
    TCP_FLAG_CWND_LIMITED = 1 << 26, /* the congestion window held data back in this round trip (RFC 7661) */
    TCP_FLAG_EVENT_TROUBLED = 1 << 27,
    TCP_FLAG_UNDO = 1 << 28,        /* the last reduction can be undone if it proves spurious */
    TCP_FLAG_LOSS_BEYOND = 1 << 29, /* a loss above recovery_point: the next window has its own event */
    /* Something sent was SACKed, marked lost or sent again: the ring of what is in flight need not be in the order of
     * sequence numbers until all is acknowledged. */
    TCP_FLAG_DISORDER = INT32_MIN,
    TCP_FLAG_TIMESTAMP_OLD = 1 << 30, /* idle for so long that TS.Recent may have wrapped (RFC 7323 section 5.5) */
};

/* Bits of tcp_segment.flags. */
enum tcp_segment_flag {
    TCP_SEGMENT_FIN = 1 << 0, /* FIN follows the bytes and takes one sequence number */
    TCP_SEGMENT_SENT = 1 << 1,
    TCP_SEGMENT_SACKED = 1 << 2,
    TCP_SEGMENT_LOST = 1 << 3,          /* in the lost list, waiting for retransmission */
    TCP_SEGMENT_RETRANSMITTED = 1 << 4, /* sent more than once */
    TCP_SEGMENT_RESENT = 1 << 5,        /* a retransmission is in flight now */
};

/*
 * Metadata of one segment, in the private area of its mbuf: the mbuf itself is never linked by m->next for queueing,
 * which keeps that pointer free for TSO chains and scattered frames.
 */
struct tcp_segment {
    struct tcp_segment *next; /* by sequence number */
    uint8_t *data;            /* first byte of payload */
    uint32_t sequence;        /* of that byte */
    uint16_t length;          /* bytes of payload; of the unsent tail only once sealed */
    uint8_t flags;            /* enum tcp_segment_flag */
    uint8_t transmissions;
    struct tcp_segment *order_next; /* the ring of segments in flight by time of sending, or the ring of lost ones */
    struct tcp_segment *order_previous;
    uint32_t sent_at;   /* latest transmission */
    uint32_t delivered; /* connection's delivered bytes when it was sent */
    uint64_t reserved[2];
};

_Static_assert(sizeof(struct tcp_segment) == 64, "one cache line, NET_MBUF_PRIVATE");

/* What the retransmission timer is waiting for (only one at a time, RFC 8985 section 8). */
enum tcp_retransmit_kind {
    TCP_RETRANSMIT_NONE,
    TCP_RETRANSMIT_TIMEOUT, /* RFC 6298 */
    TCP_RETRANSMIT_REORDER, /* RACK's reordering window */
    TCP_RETRANSMIT_PROBE,   /* tail loss probe */
    TCP_RETRANSMIT_PERSIST, /* zero window probe */
    TCP_RETRANSMIT_MEMORY,  /* the pool was empty */
};

enum tcp_recovery_state {
    TCP_RECOVERY_NONE,
    TCP_RECOVERY_FAST, /* RFC 6675 / 8985, window by PRR (RFC 6937) */
    TCP_RECOVERY_LOSS, /* after a retransmission timeout */
    /* After a timeout, in doubt (F-RTO, RFC 5682): the first segment was repeated; its ACK decides what is tried next.
     */
    TCP_RECOVERY_DOUBT,
    TCP_RECOVERY_DOUBT_NEW, /* new data was sent instead of more repetitions: does its ACK come? */
};

enum { TCP_CONGESTION_WORDS = 6 };

struct tcp_connection {
    /* Line 0: found, and enough to know what to do with a segment. */
    struct net_flow flow;
    uint32_t flags; /* enum tcp_flag */
    uint8_t state;  /* enum tcp_state */
    uint8_t interface;
    uint8_t send_scale;    /* SND.WIND.SHIFT: applied to windows received */
    uint8_t receive_scale; /* RCV.WIND.SHIFT: applied to windows sent */
    uint32_t receive_next; /* RCV.NXT */
    uint32_t receive_edge; /* RCV.NXT + RCV.WND as last advertised; never moves back */
    uint32_t send_unacked; /* SND.UNA */
    uint32_t send_next;    /* SND.NXT: after the highest byte ever sent */
    uint32_t send_window;  /* SND.WND, scaled */

    /* Line 1: the data path. */
    struct net_stack *stack;
    void *user;                       /* until accepted: the listener's argument */
    struct tcp_segment *receive_head; /* in order, unread */
    struct tcp_segment *receive_tail;
    uint32_t readable;         /* bytes in that queue */
    uint32_t timestamp_recent; /* TS.Recent */
    uint32_t send_end;         /* after the last byte queued, FIN included */
    uint32_t window_sequence;  /* SND.WL1 */
    uint32_t window_ack;       /* SND.WL2 */
    uint32_t congestion_window;
    uint32_t next_free; /* of connections that are none: index + 1 */

    /* Line 2: sending and timing. */
    struct tcp_segment *send_head;   /* oldest segment not fully acknowledged */
    struct tcp_segment *send_unsent; /* first one never sent */
    struct tcp_segment *send_tail;
    uint8_t *tail_write; /* where the next byte goes, while the tail is unsent */
    uint16_t tail_room;  /* and how many fit */
    uint16_t send_mss;   /* payload of a full segment, options of every segment deducted */
    uint32_t retransmit_at;
    uint32_t delayed_ack_at;
    uint32_t ack_sent;    /* Last.ACK.sent */
    uint16_t receive_mss; /* estimate of the peer's full segment, for "every second segment" */
    uint8_t quick_acks;   /* segments still acknowledged at once (start, and after loss or idle) */
    uint8_t retransmit_kind;
    uint32_t smoothed_rtt;  /* us << 3; 0: no sample yet */
    uint32_t rtt_variance;  /* us << 2 */
    uint16_t send_segments; /* mbufs in the send queue */
    uint8_t backoff;        /* doublings of the RTO, or of the persist interval */
    uint8_t recovery;       /* enum tcp_recovery_state */

    /* Line 3: timer, out of order, loss. */
    struct timer timer;
    struct tcp_segment *out_of_order; /* by sequence, overlaps removed */
    struct tcp_segment *in_flight;    /* ring by time of sending: neither SACKed nor lost */
    struct tcp_segment *lost;         /* ring of segments to retransmit */
    uint32_t sacked_bytes;
    uint32_t lost_bytes; /* marked lost and not retransmitted since */
    uint32_t slow_start_threshold;
    uint32_t recovery_point; /* recovery ends when this is acknowledged */

    /* Line 4: recovery. */
    uint32_t delivered;     /* bytes the peer has, cumulative plus SACKed, modulo 2^32 */
    uint32_t prr_delivered; /* RFC 6937 */
    uint32_t prr_out;
    uint32_t recovery_flight; /* RecoverFS */
    uint32_t rack_sent_at;    /* RACK.xmit_ts */
    uint32_t rack_end;        /* RACK.end_seq */
    uint32_t rack_rtt;
    uint32_t rtt_minimum;
    uint8_t reorder_steps;   /* RACK.reo_wnd_mult */
    uint8_t reorder_persist; /* recoveries it still holds */
    uint8_t duplicate_acks;  /* without SACK only */
    uint8_t probes;          /* unanswered keepalive probes or SYNs */
    uint32_t probe_end;      /* TLP.end_seq */
    uint32_t undo_timestamp; /* TSval of the first retransmission (RFC 3522) */
    uint32_t undo_window;    /* congestion window and threshold to go back to */
    uint32_t undo_threshold;
    uint32_t send_window_max;  /* largest window the peer offered */
    uint32_t timestamp_offset; /* added to the clock in TSval */
    uint32_t generation;

    /* Line 5: seldom. */
    uint32_t congestion[TCP_CONGESTION_WORDS]; /* the algorithm's own (cong_*.c) */
    uint32_t neighbour;                        /* index of the next hop */
    uint32_t received_at;                      /* tick of the last segment */
    uint32_t progress_at;                      /* tick since when the oldest byte is unacknowledged */
    uint32_t keep_at;                          /* keepalive, FIN-WAIT-2 or lifetime after close */
    uint32_t out_of_order_bytes;
    uint32_t out_of_order_recent; /* start of the latest arrival: the first SACK block holds it */
    uint16_t out_of_order_count;
    uint16_t receive_count; /* mbufs in the receive queue */
    uint16_t retransmits;
    uint16_t sacked_count;     /* segments SACKed */
    unsigned close_reason : 3; /* enum tcp_close_reason */
    unsigned timeout_set : 1;  /* user_timeout_s is the application's, not what the peer asks for */
    unsigned ended : 1;        /* closed() was called; freed when no list holds it */
    unsigned syn_lost : 1;     /* a SYN or SYN-ACK was lost: the path asks for care (RFC 6298 section 5.7) */
    unsigned keepalive : 2;    /* enum tcp_keepalive */
    unsigned trouble : 2;      /* enum tcp_trouble, to be told */
    unsigned dscp : 6;         /* of what is sent */
    uint16_t path_mtu;         /* bytes of IP packet */
    uint16_t peer_mss;         /* as offered */
    uint16_t user_timeout_s;   /* 0: the stack's */
};

_Static_assert(sizeof(struct tcp_connection) <= 384, "the budget of an idle connection, tables aside");

#endif
