/*
 * Fuzz target: segments and frames against a stack in each state. The input is a state, then records:
 *
 *     byte 0      state to begin in (state_enter)
 *     byte 1      bits: 0 SACK, 1 timestamps, 2 scale, 3 cookies, 4 the application does not read, 5 user timeout
 *                 option, 6 ECN, 7 addresses are probed
 *     a record    kind (below), then its fields
 *
 * After the last record time passes; then the stack is destroyed and every mbuf must be back.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/sim/script.h"

#include <rte_ip.h>
#include <rte_mbuf.h>
#include <string.h>

struct reader {
    const uint8_t *at;
    size_t left;
};

static uint32_t take(struct reader *reader, unsigned bytes)
{
    uint32_t value = 0;

    while (bytes-- > 0) {
        value = value << 8 | (reader->left ? *reader->at : 0);
        if (reader->left) {
            reader->at++;
            reader->left--;
        }
    }
    return value;
}

static void send_all(struct script *s, uint32_t length)
{
    static const uint8_t bytes[4096];

    if (s->connection)
        tcp_send(s->connection, bytes, length < sizeof bytes ? length : sizeof bytes);
    script_turn(s);
}

/* 0 listen, 1 SYN-SENT, 2 half-open, 3 established, 4 FIN-WAIT-1, 5 FIN-WAIT-2, 6 CLOSE-WAIT, 7 LAST-ACK, 8 CLOSING, 9
 * TIME-WAIT. */
static void state_enter(struct script *s, unsigned state)
{
    struct net_address any = NET_ADDRESS_ANY, peer = s->config.interfaces[0].addresses[0].address;

    if (state <= 2) {
        script_listen(s);
        if (state == 1) {
            peer.bytes[15] = 2;
            s->connection = tcp_connect(s->stack, &any, 0, &peer, 4000, s);
            script_turn(s);
        } else if (state == 2) {
            script_send(s, S, 0, 0, 65535, 0);
        }
        return;
    }
    script_establish(s);
    if (state == 6 || state == 7)
        script_send(s, F | A, 1, 1, 65535, 0);
    if (s->connection && (state == 4 || state == 5 || state == 8 || state == 9))
        tcp_shutdown(s->connection);
    if (s->connection && state == 7)
        tcp_close(s->connection);
    script_turn(s);
    if (state == 5 || state == 9)
        script_send(s, A, 1, 2, 65535, 0);
    if (state == 8)
        script_send(s, F | A, 1, 1, 65535, 0);
    if (state == 9)
        script_send(s, F | A, 1, 2, 65535, 0);
}

static void segment(struct script *s, struct reader *reader)
{
    uint8_t flags = (uint8_t)take(reader, 1), raw[40];
    uint32_t sequence = (uint32_t)(int16_t)take(reader, 2), ack = (uint32_t)(int16_t)take(reader, 2);
    uint16_t window = (uint16_t)take(reader, 2), length = (uint16_t)(take(reader, 2) % 1401);
    size_t options = take(reader, 1) % 11 * 4;

    if (options == 0) {
        script_send(s, flags, sequence, ack, window, length);
        return;
    }
    for (size_t i = 0; i < options; i++)
        raw[i] = (uint8_t)take(reader, 1);
    script_send_options(s, flags, sequence, ack, window, length, NULL, raw, options);
}

static void frame(struct script *s, struct reader *reader)
{
    uint8_t bytes[300];
    size_t length = take(reader, 1) + 1;

    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)take(reader, 1);
    if (bytes[0] & 1)
        memcpy(bytes, (const uint8_t[6]){2, 0, 0, 0, 0, 1}, 6);
    script_frame(s, bytes, (uint32_t)length);
    script_turn(s);
}

/* IPv6 with a header that is good, so that the bytes reach what lies behind it; ICMPv6 with its checksum. */
static void packet6(struct script *s, struct reader *reader)
{
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1}, group[16] = {0xff, 2, [11] = 1, 0xff, [15] = 1};
    static const uint8_t nobody[16];
    const uint8_t kind = (uint8_t)take(reader, 1), next = (uint8_t)take(reader, 1);
    const uint8_t *source = kind & 1 ? nobody : script_peer_ip6;
    const uint8_t *destination = kind & 2 ? all_nodes : kind & 4 ? group : script_our_ip6;
    uint8_t bytes[256];
    size_t length = take(reader, 1);

    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)take(reader, 1);
    if (kind & 8 && length >= 8)
        script_icmp6(s, source, destination, 255, bytes, (uint32_t)length);
    else
        script_ip6(s, source, destination, next, 64, bytes, (uint32_t)length);
}

/* A neighbour message for an address of ours or the peer's. */
static void neighbour(struct script *s, struct reader *reader)
{
    uint8_t bytes[32] = {(uint8_t)(135 + take(reader, 1) % 2), [4] = (uint8_t)take(reader, 1), [24] = 1, 1, 2};
    const uint8_t kind = (uint8_t)take(reader, 1);

    memcpy(bytes + 8, kind & 1 ? script_our_ip6 : script_peer_ip6, 16);
    bytes[24] = (uint8_t)(bytes[0] - 134);
    bytes[31] = kind >> 4;
    script_icmp6(s, script_peer_ip6, script_our_ip6, 255, bytes, kind & 2 ? 24 : 32);
}

/* A query of the multicast router, with whatever it asks. */
static void listener_query(struct script *s, struct reader *reader)
{
    static const uint8_t router[16] = {0xfe, 0x80, [15] = 9}, all_nodes[16] = {0xff, 2, [15] = 1};
    uint8_t query[64] = {130};
    const uint8_t kind = (uint8_t)take(reader, 1);
    const uint32_t length = 24 + take(reader, 1) % (sizeof query - 24);

    query[1] = kind >> 6;
    for (uint32_t i = 4; i < length; i++)
        query[i] = (uint8_t)take(reader, 1);
    script_icmp6(s, kind & 1 ? script_peer_ip6 : router, kind & 2 ? script_our_ip6 : all_nodes, kind & 4 ? 255 : 1,
                 query, length);
}

/* Many echo requests in one moment: more than are answered in a second. */
static void echoes(struct script *s, struct reader *reader)
{
    const bool ip6 = take(reader, 1) & 1;
    const uint32_t count = take(reader, 1) % 16, length = 8 + take(reader, 1) % 57;

    for (uint32_t i = 0; i < count; i++) {
        uint8_t echo[64] = {ip6 ? 128 : 8, [5] = 1, [7] = (uint8_t)i};
        if (ip6) {
            script_icmp6(s, script_peer_ip6, script_our_ip6, 64, echo, length);
        } else {
            const uint16_t sum = (uint16_t)~rte_raw_cksum(echo, length);
            memcpy(echo + 2, &sum, 2);
            script_ip4(s, script_peer_ip, script_our_ip, 1, echo, length);
        }
    }
}

/* How the next segment comes: in two pieces that may overlap, miss, come in any order and carry any ECN mark. */
static struct {
    uint32_t cut, start;
    uint8_t marks[2];
    bool backwards, open_end;
} pieces;

static void piece_send(struct script *s, const uint8_t *frame, uint32_t start, uint32_t end, bool more, uint8_t mark)
{
    uint8_t piece[2000], *ip = piece + 14;

    if (start >= end)
        return;
    memcpy(piece, frame, 34);
    memcpy(piece + 34, frame + 34 + start, end - start);
    ip[1] = mark & 3;
    ip[2] = (uint8_t)((20 + end - start) >> 8);
    ip[3] = (uint8_t)(20 + end - start);
    ip[4] = 0;
    ip[5] = mark >> 6;
    ip[6] = (uint8_t)((more ? 0x20 : 0) | start >> 11);
    ip[7] = (uint8_t)(start >> 3);
    ip[10] = ip[11] = 0;
    const uint16_t sum = (uint16_t)~rte_raw_cksum(ip, 20);
    memcpy(ip + 10, &sum, 2);
    script_frame(s, piece, 34 + end - start);
}

static void in_pieces(struct script *s, const uint8_t *frame, uint32_t length)
{
    const uint32_t total = length - 34, cut = pieces.cut < total ? pieces.cut : total;

    s->divert = NULL;
    for (unsigned i = 0; i < 2; i++) {
        if ((i == 0) != pieces.backwards)
            piece_send(s, frame, 0, cut, true, pieces.marks[0]);
        else
            piece_send(s, frame, pieces.start, total, pieces.open_end, pieces.marks[1]);
    }
}

static void segment_in_pieces(struct script *s, struct reader *reader)
{
    const uint8_t kind = (uint8_t)take(reader, 1);

    pieces.cut = take(reader, 1) * 8;
    pieces.start = kind & 1 ? take(reader, 1) * 8 : pieces.cut;
    pieces.backwards = kind & 2;
    pieces.open_end = kind & 4;
    pieces.marks[0] = (uint8_t)take(reader, 1);
    pieces.marks[1] = (uint8_t)take(reader, 1);
    s->divert = in_pieces;
    segment(s, reader);
    s->divert = NULL;
}

static void sack(struct script *s, struct reader *reader)
{
    struct tcp_sack_block blocks[TCP_SACK_BLOCKS];
    unsigned count = take(reader, 1) % (TCP_SACK_BLOCKS + (s->peer.has_timestamp ? 0 : 1));
    uint32_t ack = (uint32_t)(int16_t)take(reader, 2);

    for (unsigned i = 0; i < count; i++) {
        blocks[i].start = (uint32_t)(int16_t)take(reader, 2);
        blocks[i].end = blocks[i].start + (uint32_t)(int16_t)take(reader, 2);
    }
    script_send_sack(s, ack, 65535, count, blocks);
}

static void application(struct script *s, struct reader *reader)
{
    switch (take(reader, 1) % 9) {
    case 0:
        send_all(s, take(reader, 2));
        break;
    case 1:
        if (s->connection)
            tcp_consume(s->connection, take(reader, 2));
        break;
    case 2:
        if (s->connection)
            tcp_shutdown(s->connection);
        break;
    case 3:
        if (s->connection)
            tcp_close(s->connection);
        break;
    case 4:
        if (s->connection)
            tcp_abort(s->connection);
        break;
    case 5:
        if (s->connection)
            tcp_reserve(s->connection, take(reader, 2));
        break;
    case 6:
        if (s->connection)
            tcp_set_user_timeout(s->connection, (uint16_t)(1 + take(reader, 2) % 65535));
        break;
    case 7:
        if (s->connection)
            tcp_set_keepalive(s->connection, take(reader, 1) % 3);
        break;
    default:
        if (s->connection)
            tcp_set_dscp(s->connection, (uint8_t)take(reader, 1));
        break;
    }
    script_turn(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct script s;
    struct reader reader = {data, size};
    unsigned state = take(&reader, 1) % 10, options = take(&reader, 1);

    script_open(&s, "fuzz");
    s.peer.sack_permitted = options & 1;
    s.peer.has_timestamp = options & 2;
    s.peer.has_scale = options & 4;
    s.peer.scale = 3;
    s.config.syn_cookies = options & 8 ? NET_SYN_COOKIES_ALWAYS : NET_SYN_COOKIES_AUTO;
    s.consume = !(options & 16);
    s.config.user_timeout_option = options & 32;
    s.config.ecn = options & 64 ? NET_ECN_ASK : NET_ECN_ACCEPT;
    s.config.address_probes = options & 128 && state == 0;
    s.config.callbacks.troubled = script_troubled;
    script_use_ip6(&s);
    s.config.receive_buffer = s.config.send_buffer = 16384;
    s.config.echo_replies = 8; /* a second: soon reached */
    state_enter(&s, state);
    for (unsigned records = 0; reader.left && records < 200; records++) {
        switch (take(&reader, 1) % 11) {
        case 0:
            segment(&s, &reader);
            break;
        case 1:
            frame(&s, &reader);
            break;
        case 2:
            sack(&s, &reader);
            break;
        case 3:
            application(&s, &reader);
            break;
        case 5:
            packet6(&s, &reader);
            break;
        case 6:
            neighbour(&s, &reader);
            break;
        case 7:
            listener_query(&s, &reader);
            break;
        case 8:
            echoes(&s, &reader);
            break;
        case 9:
            segment_in_pieces(&s, &reader);
            break;
        case 10: /* minutes: cookies age, reassembly and neighbours time out */
            script_wait(&s, take(&reader, 1) * UINT64_C(15000000));
            break;
        default:
            script_wait(&s, take(&reader, 2) * 1000);
            break;
        }
    }
    script_wait(&s, 5000000);
    net_stack_destroy(s.stack);
    if (rte_mempool_in_use_count(s.pool) != 0)
        __builtin_trap();
    return 0;
}
