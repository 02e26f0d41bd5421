/*
 * Routes and own addresses: small tables made at creation and never changed, searched linearly (a worker has a handful;
 * connections look up once, when they are opened). Private to lib/net (stack.h).
 */
#include "lib/net/stack.h"

static unsigned prefix_bits(const struct net_prefix *prefix)
{
    return prefix->length + (net_address_is_ip4(&prefix->address) ? 96u : 0u);
}

static void route_add(struct net_stack *stack, struct net_prefix prefix, struct net_address gateway, unsigned interface)
{
    struct net_route *route = &stack->routes[stack->route_count++];

    *route = (struct net_route){.gateway = gateway,
                                .interface = (uint8_t)interface,
                                .bits = (uint8_t)prefix_bits(&prefix),
                                .ip4 = net_address_is_ip4(&prefix.address)};
    uint8_t mask[16];
    for (unsigned i = 0; i < 16; i++) {
        const unsigned here = route->bits > 8 * i ? route->bits - 8 * i : 0;
        mask[i] = here >= 8 ? 0xff : (uint8_t)(0xff00 >> here);
        prefix.address.bytes[i] &= mask[i];
    }
    memcpy(route->mask, mask, 16);
    memcpy(route->value, prefix.address.bytes, 16);
}

bool route_table_build(struct net_stack *stack)
{
    const struct net_config *config = &stack->config;

    for (unsigned i = 0; i < config->interface_count; i++) {
        const struct net_interface_config *interface = &config->interfaces[i];
        const struct net_interface_config *own = &stack->interfaces[i].config; /* with the link-local address */
        for (unsigned a = 0; a < own->address_count; a++)
            route_add(stack, own->addresses[a], NET_ADDRESS_ANY, i);
        if (!net_address_is_any(&interface->gateway4))
            route_add(stack, (struct net_prefix){net_address_ip4(0), 0}, interface->gateway4, i);
        if (!net_address_is_any(&interface->gateway6))
            route_add(stack, (struct net_prefix){NET_ADDRESS_ANY, 0}, interface->gateway6, i);
    }
    for (unsigned i = 0; i < config->route_count; i++) {
        const struct net_route_config *route = &config->routes[i];
        if (route->interface >= config->interface_count)
            return false;
        route_add(stack, route->prefix, route->gateway, route->interface);
    }
    return true;
}

/* REQ RFC1122 3.3.1: the longest prefix [test: net_script/longest_prefix] */
const struct net_route *route_find(const struct net_stack *stack, const struct net_address *destination, unsigned link)
{
    const bool ip4 = net_address_is_ip4(destination);
    uint64_t words[2];
    memcpy(words, destination, 16);
    const bool link_local = destination->bytes[0] == 0xfe && (destination->bytes[1] & 0xc0) == 0x80;
    const struct net_route *best = NULL;

    for (unsigned i = 0; i < stack->route_count; i++) {
        const struct net_route *route = &stack->routes[i];
        if (((words[0] & route->mask[0]) ^ route->value[0]) | ((words[1] & route->mask[1]) ^ route->value[1]) ||
            route->ip4 != ip4 || (link_local && route->interface != link))
            continue;
        if (!best || route->bits > best->bits)
            best = route;
    }
    return best;
}

const struct net_address *route_source(const struct net_stack *stack, unsigned index,
                                       const struct net_address *destination)
{
    const struct net_interface_config *interface = &stack->interfaces[index].config;
    const struct net_address *found = NULL;

    for (unsigned a = 0; a < interface->address_count; a++) {
        const struct net_prefix *prefix = &interface->addresses[a];
        if (net_prefix_contains(prefix, destination))
            return &prefix->address;
        if (!found && net_address_is_ip4(&prefix->address) == net_address_is_ip4(destination))
            found = &prefix->address;
    }
    return found;
}
