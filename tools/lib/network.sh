# shellcheck shell=bash disable=SC2154
# The lab's network: two namespaces and the link between them. Nothing of it is visible from, or reaches, the machine's
# own network. Sourced; needs lib/common.sh and lib/process.sh.
#
#     pollux-lab                            pollux-lab-router
#     clients: 198.18.0.2/24        link    the router: 198.18.0.1/24
#              2001:db8:18::2/64  --------              2001:db8:18::1/64
#     device:  plx-client                   device: plx0 (veth), or none (TAP: the router makes plx-client)

client_namespace=$lab_name
router_namespace=$lab_name-router
client_device=plx-client
router_device=plx0
router_ipv4=198.18.0.1
router_ipv6=2001:db8:18::1

in_clients() {
    ip netns exec "$client_namespace" "$@"
}

in_router() {
    ip netns exec "$router_namespace" "$@"
}

network_exists() {
    [[ -e /run/netns/$client_namespace && -e /run/netns/$router_namespace ]]
}

# network_up LINK: the namespaces, and the veth pair unless LINK is tap.
network_up() {
    ip netns add "$client_namespace"
    ip netns add "$router_namespace"
    ip -n "$client_namespace" link set lo up
    ip -n "$router_namespace" link set lo up
    # Room for tens of thousands of clients from one address, also shortly after others have left.
    in_clients sysctl -qw net.ipv4.ip_local_port_range='1024 65535' net.ipv4.tcp_tw_reuse=1
    [[ $1 == tap ]] || network_add_veth
}

network_add_veth() {
    # One queue a side: an AF_XDP socket sees one queue, and a pair with more would spread packets past it.
    ip link add "$router_device" netns "$router_namespace" numrxqueues 1 numtxqueues 1 type veth \
        peer name "$client_device" netns "$client_namespace" numrxqueues 1 numtxqueues 1
    # The kernel must not answer in the router's place.
    in_router sysctl -qw "net.ipv6.conf.$router_device.disable_ipv6=1" 2>/dev/null || true
    ip -n "$router_namespace" link set "$router_device" up
    network_offloads_off in_router "$router_device"
    network_client_address
}

# A veth pair hands packets over as the sender's kernel made them: checksums unfinished, several segments as one.
# The router reads frames as a wire would carry them.
network_offloads_off() {
    "$1" ethtool -K "$2" tx off tso off gso off gro off >/dev/null 2>&1 || true
}

# network_take_tap: moves the TAP device that the router has made to the clients.
network_take_tap() {
    ip -n "$router_namespace" link set "$client_device" netns "$client_namespace"
    # DPDK gives the kernel's side its own address; two stations on a link must differ.
    ip -n "$client_namespace" link set "$client_device" address 02:00:00:12:00:02
    network_client_address
}

network_client_address() {
    network_offloads_off in_clients "$client_device"
    ip -n "$client_namespace" address replace 198.18.0.2/24 dev "$client_device"
    ip -n "$client_namespace" address replace 2001:db8:18::2/64 dev "$client_device" nodad 2>/dev/null ||
        warn "the kernel has no IPv6: the lab has IPv4 only"
    ip -n "$client_namespace" link set "$client_device" up
}

# Everything network_up made, and every process that is still inside, is gone afterwards.
network_down() {
    local name
    for name in "$client_namespace" "$router_namespace"; do
        [[ -e /run/netns/$name ]] || continue
        network_end_processes "$name"
        ip netns delete "$name" || warn "namespace $name cannot be deleted"
    done
}

# Ends what runs in one of our namespaces, except the shells that this tool was called from.
network_end_processes() {
    local signal pids
    for signal in TERM KILL; do
        mapfile -t pids < <(network_pids "$1")
        ((${#pids[@]})) || return 0
        kill -s "$signal" "${pids[@]}" 2>/dev/null || true
        wait_until 3 network_empty "$1" || true
    done
}

network_pids() {
    grep -vxFf <(process_ancestors) <(ip netns pids "$1" 2>/dev/null) || true
}

network_empty() {
    [[ -z $(network_pids "$1") ]]
}
