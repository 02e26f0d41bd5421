/* What a filter looks at in a frame. See frame.h. */
#include "dataplane/frame.h"

#include "dataplane/addresses.h"

enum {
    ETHERTYPE_IP4 = 0x0800,
    ETHERTYPE_ARP = 0x0806,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_IP6 = 0x86dd,
    ETHERTYPE_QINQ = 0x88a8,
    PROTOCOL_HOP_BY_HOP = 0,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_ROUTING = 43,
    PROTOCOL_FRAGMENT = 44,
    PROTOCOL_DESTINATION = 60,
    HEADERS_MAX = 8, /* tags and extension headers that are followed */
};

static uint16_t two(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static struct net_address ip4_at(const uint8_t *bytes)
{
    uint32_t address;
    memcpy(&address, bytes, sizeof(address));
    return net_address_ip4(address);
}

static void transport_read(struct frame *frame, const uint8_t *bytes, uint32_t length, uint32_t at, uint8_t protocol)
{
    if ((protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP) || at + 4 > length) {
        return;
    }
    frame->ports = true;
    frame->source_port = two(bytes + at);
    frame->target_port = two(bytes + at + 2);
    if (protocol == PROTOCOL_TCP && at + 20 <= length) {
        frame->tcp = true;
        frame->payload = at + (bytes[at + 12] >> 4) * 4u;
    }
}

static void ip4_read(struct frame *frame, const uint8_t *bytes, uint32_t length, uint32_t at)
{
    if (at + 20 > length) {
        return;
    }
    frame->addressed = true;
    frame->source = ip4_at(bytes + at + 12);
    frame->target = ip4_at(bytes + at + 16);
    if ((two(bytes + at + 6) & 0x1fff) == 0) {
        transport_read(frame, bytes, length, at + (bytes[at] & 15) * 4u, bytes[at + 9]);
    }
}

static void ip6_read(struct frame *frame, const uint8_t *bytes, uint32_t length, uint32_t at)
{
    if (at + 40 > length) {
        return;
    }
    frame->addressed = true;
    frame->source = net_address_ip6(bytes + at + 8);
    frame->target = net_address_ip6(bytes + at + 24);
    uint8_t next = bytes[at + 6];
    at += 40;
    for (uint32_t i = 0; i < HEADERS_MAX && at + 8 <= length; i++) {
        if (next == PROTOCOL_FRAGMENT && (two(bytes + at + 2) & 0xfff8) != 0) {
            return;
        }
        if (next != PROTOCOL_HOP_BY_HOP && next != PROTOCOL_ROUTING && next != PROTOCOL_DESTINATION &&
            next != PROTOCOL_FRAGMENT) {
            transport_read(frame, bytes, length, at, next);
            return;
        }
        const uint32_t size = next == PROTOCOL_FRAGMENT ? 8 : 8 + bytes[at + 1] * 8u;
        next = bytes[at];
        at += size;
    }
}

static void arp_read(struct frame *frame, const uint8_t *bytes, uint32_t length, uint32_t at)
{
    if (at + 28 > length || two(bytes + at + 2) != ETHERTYPE_IP4) {
        return;
    }
    frame->addressed = true;
    frame->source = ip4_at(bytes + at + 14);
    frame->target = ip4_at(bytes + at + 24);
}

void frame_read(struct frame *frame, const uint8_t *bytes, uint32_t length)
{
    uint32_t at = 12;
    *frame = (struct frame){0};
    for (uint32_t i = 0; i < HEADERS_MAX && at + 2 <= length; i++, at += 4) {
        switch (two(bytes + at)) {
        case ETHERTYPE_VLAN:
        case ETHERTYPE_QINQ:
            continue;
        case ETHERTYPE_IP4:
            ip4_read(frame, bytes, length, at + 2);
            return;
        case ETHERTYPE_IP6:
            ip6_read(frame, bytes, length, at + 2);
            return;
        case ETHERTYPE_ARP:
            arp_read(frame, bytes, length, at + 2);
            return;
        default:
            return;
        }
    }
}

bool frame_matches(const struct frame *frame, enum shm_capture_direction direction,
                   const struct shm_capture_arguments *filter)
{
    if ((filter->direction & direction) == 0) {
        return false;
    }
    if (filter->port != 0 &&
        (!frame->ports || (frame->source_port != filter->port && frame->target_port != filter->port))) {
        return false;
    }
    if (filter->address.family == 0) {
        return true;
    }
    const struct net_prefix prefix = {.address = address_of(&filter->address), .length = filter->address.prefix};
    return frame->addressed &&
           (net_prefix_contains(&prefix, &frame->source) || net_prefix_contains(&prefix, &frame->target));
}
