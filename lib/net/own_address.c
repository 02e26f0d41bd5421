/*
 * The stack's own addresses: which there are, whether somebody else has them too, how others learn of them. Private to
 * lib/net (stack.h); the stack's thread.
 *
 * Every worker goes through the same states at the same times, since each sees ARP and neighbour discovery; worker 0
 * alone sends. With config.address_probes an address is first asked for (RFC 5227, RFC 4862 section 5.4): until then it
 * is tentative, and if anybody answers it stays unused. Without, it is used at once, and a conflict is counted.
 */
#include "lib/net/stack.h"

#include <rte_byteorder.h>

enum { PROBE_INTERVAL_US = 1000 * 1000, DEFEND_INTERVAL_US = 10 * 1000 * 1000 };

/* REQ RFC4862 5.3: from the hardware address, RFC 4291 appendix A [test: net_script/link_local_address] */
static struct net_prefix link_local_address(const uint8_t mac[6])
{
    struct net_address address = {.bytes = {0xfe, 0x80, [8] = mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe}};

    memcpy(address.bytes + 13, mac + 3, 3);
    return (struct net_prefix){address, 64};
}

static bool is_link_local(const struct net_address *address)
{
    return address->bytes[0] == 0xfe && (address->bytes[1] & 0xc0) == 0x80;
}

/* An interface that speaks IPv6 has a link-local address: the configured one, or one made from its hardware address. */
static void link_local_add(struct net_interface_config *interface)
{
    bool ip6 = false;

    for (unsigned a = 0; a < interface->address_count; a++) {
        const struct net_address *address = &interface->addresses[a].address;
        if (is_link_local(address))
            return;
        ip6 = ip6 || !net_address_is_ip4(address);
    }
    if (ip6)
        interface->addresses[interface->address_count++] = link_local_address(interface->mac);
}

/* The broadcast addresses of the networks that are ours: each source address is compared with them. */
static void broadcasts_add(struct net_stack *stack, const struct net_interface_config *interface)
{
    for (unsigned a = 0; a < interface->address_count; a++) {
        const struct net_prefix *prefix = &interface->addresses[a];
        if (net_address_is_ip4(&prefix->address) && prefix->length < 31)
            stack->broadcasts[stack->broadcast_count++] =
                prefix->address.words[3] | rte_cpu_to_be_32(UINT32_MAX >> prefix->length);
    }
}

void own_addresses_begin(struct net_stack *stack)
{
    for (unsigned i = 0; i < stack->config.interface_count; i++) {
        struct net_interface *interface = &stack->interfaces[i];
        link_local_add(&interface->config);
        broadcasts_add(stack, &interface->config);
        interface->reports_left = stack->config.worker == 0 ? MLD_REPORTS : 0;
        interface->probes_left = stack->config.address_probes;
        interface->probe_at = stack->tick;
        if (interface->probes_left)
            interface->tentative = (uint16_t)((1u << interface->config.address_count) - 1);
        else
            interface->announce = stack->config.worker == 0;
    }
    if (stack->config.address_probes)
        stack_need_housekeeping(stack);
}

static void announce(struct net_stack *stack, unsigned index)
{
    struct net_interface *interface = &stack->interfaces[index];

    interface->announce = false;
    mld_announce(stack, index);
    for (unsigned a = 0; a < interface->config.address_count; a++) {
        const struct net_address *address = &interface->config.addresses[a].address;
        if (interface->duplicate & 1u << a)
            continue;
        if (net_address_is_ip4(address))
            arp_announce(stack, index, address);
        else
            ndp_announce(stack, index, address);
    }
}

static void probe(struct net_stack *stack, unsigned index)
{
    const struct net_interface *interface = &stack->interfaces[index];

    mld_announce(stack, index);
    for (unsigned a = 0; a < interface->config.address_count; a++) {
        const struct net_address *address = &interface->config.addresses[a].address;
        if (!(interface->tentative & 1u << a))
            continue;
        if (net_address_is_ip4(address))
            arp_probe(stack, index, address);
        else
            ndp_probe(stack, index, address);
    }
}

void own_addresses_announce(struct net_stack *stack)
{
    for (unsigned i = 0; i < stack->config.interface_count; i++)
        if (stack->interfaces[i].announce)
            announce(stack, i);
}

/* REQ RFC826 RFC5227-2.1: as often as configured, not by default [test: net_script/addresses_are_probed] */
/* REQ RFC4862 5.4: as often as configured, not by default [test: net_script/addresses_are_probed] */
static void probing(struct net_stack *stack, unsigned index)
{
    struct net_interface *interface = &stack->interfaces[index];

    if ((int32_t)(stack->tick - interface->probe_at) < 0)
        return;
    if (interface->probes_left == 0) {
        interface->tentative = 0;
        interface->announce = stack->config.worker == 0;
        return;
    }
    interface->probes_left--;
    interface->probe_at = stack_deadline(stack, PROBE_INTERVAL_US);
    if (stack->config.worker == 0)
        probe(stack, index);
}

bool own_addresses_housekeeping(struct net_stack *stack)
{
    bool more = false;

    for (unsigned i = 0; i < stack->config.interface_count; i++) {
        if (stack->interfaces[i].tentative)
            probing(stack, i);
        more = more || stack->interfaces[i].tentative;
    }
    return more;
}

/*
 * The address is the operator's and stays (RFC 5227 section 2.4 (c)); what others have learnt about it meanwhile is put
 * right. Seldom, since the other may do the same. IPv6 knows no such thing.
 */
/* REQ RFC826 RFC5227-2.4-2: once in ten seconds [test: net_script/address_is_defended] */
static void defend(struct net_stack *stack, unsigned index, const struct net_address *address)
{
    struct net_interface *interface = &stack->interfaces[index];

    if (stack->config.worker != 0 || !net_address_is_ip4(address) || !interface_has_address(stack, index, address) ||
        (interface->defended_at && stack->tick - interface->defended_at < DEFEND_INTERVAL_US >> TIMER_TICK_SHIFT))
        return;
    interface->defended_at = stack->tick;
    arp_announce(stack, index, address);
}

/* REQ RFC4862 5.4.3, 5.4.4: it stays unused [test: net_script/duplicate_address_is_not_used] */
bool own_address_claimed(struct net_stack *stack, unsigned index, const struct net_address *address)
{
    struct net_interface *interface = &stack->interfaces[index];

    for (unsigned a = 0; a < interface->config.address_count; a++) {
        if (!net_address_equal(&interface->config.addresses[a].address, address))
            continue;
        if (interface->tentative & 1u << a) {
            interface->tentative &= (uint16_t) ~(1u << a);
            interface->duplicate |= (uint16_t)(1u << a);
            COUNT(stack, address_duplicates);
        } else {
            COUNT(stack, address_conflicts);
            defend(stack, index, address);
        }
        return true;
    }
    return false;
}

bool interface_has_address(const struct net_stack *stack, unsigned index, const struct net_address *address)
{
    const struct net_interface *interface = &stack->interfaces[index];

    for (unsigned a = 0; a < interface->config.address_count; a++)
        if (net_address_equal(&interface->config.addresses[a].address, address))
            return !((interface->tentative | interface->duplicate) & 1u << a);
    return false;
}

bool route_is_local(const struct net_stack *stack, const struct net_address *address)
{
    for (unsigned i = 0; i < stack->config.interface_count; i++)
        if (interface_has_address(stack, i, address))
            return true;
    return false;
}

/* 0.0.0.0/8, 127/8, groups and what is reserved (RFC 1122 section 3.2.1.3). */
static bool is_host_address4(const struct net_stack *stack, const struct net_address *address)
{
    const uint8_t first = address->bytes[12];

    if (first == 0 || first == 127 || first >= 224)
        return false;
    for (unsigned i = 0; i < stack->broadcast_count; i++)
        if (stack->broadcasts[i] == address->words[3])
            return false;
    return true;
}

bool address_is_unicast(const struct net_stack *stack, const struct net_address *address)
{
    static const struct net_address loopback = {.bytes = {[15] = 1}};

    if (net_address_is_ip4(address))
        return is_host_address4(stack, address);
    return address->bytes[0] != 0xff && !net_address_is_any(address) && !net_address_equal(address, &loopback);
}
