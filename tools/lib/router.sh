# shellcheck shell=bash disable=SC2154
# Starts and watches what stands in the router's place in the lab: Pollux's two programs, or as a reference Debian's
# mosquitto on the kernel's own stack. Sourced; needs lib/common.sh, lib/process.sh and lib/network.sh.
# State, in $state: config.yaml, PROGRAM.pid, PROGRAM.log, and the programs' own sockets.

# router_programs TARGET: the names of the programs, in the order they start.
router_programs() {
    case $1 in
    pollux) say control dataplane ;;
    mosquitto) say mosquitto ;;
    esac
}

# router_start PROGRAM
router_start() {
    process_start "$state/$1.pid" "$state/$1.log" ip netns exec "$router_namespace" "${router_command[@]}"
}

# router_command_of PROGRAM: puts its command line into router_command.
router_command_of() {
    case $1 in
    control) router_command=("$pollux_build/control/pollux-control" --config "$state/config.yaml" --run-dir "$state") ;;
    dataplane) router_command=("$pollux_build/dataplane/pollux-dataplane" --run-dir "$state") ;;
    mosquitto) router_command=(mosquitto -c "$state/mosquitto.conf") ;;
    *) die "no program of the lab is called $1" ;;
    esac
    command -v "${router_command[0]}" >/dev/null || die "${router_command[0]} is missing: tools/quickstart builds it"
}

# router_launch PROGRAM
router_launch() {
    local router_command
    router_command_of "$1"
    router_forget "$1"
    router_start "$1"
}

# polluxctl of the lab's router, instead of this process.
router_ctl() {
    exec "$pollux_build/tools/polluxctl/polluxctl" --run-dir "$state" "$@"
}

# Everything between the programs and the port is up.
router_ready() {
    [[ $target == mosquitto ]] || (router_ctl --timeout 1 wait ready) >/dev/null 2>&1
}

# A client gets through to it.
router_answers() {
    in_clients timeout 1 bash -c "exec 3<>/dev/tcp/$router_ipv4/1883" 2>/dev/null
}

# One of the programs has ended, so that waiting for the others is of no use.
router_broken() {
    local program
    for program in $(router_programs "$target"); do
        process_gone "$state/$program.pid" && return 0
    done
    return 1
}

# router_wait CONDITION SECONDS: status 1 when it does not come true, or cannot any more.
router_wait() {
    router_settled() { "$1" || router_broken; }
    wait_until "$2" router_settled "$1" && "$1"
}

# router_prepare TARGET: the mosquitto of the tests, as near to Pollux's defaults as it goes.
router_prepare_mosquitto() {
    cat >"$state/mosquitto.conf" <<EOF
listener 1883
listener 8083
protocol websockets
allow_anonymous true
max_queued_messages 100000
max_inflight_messages 100
persistence false
user root
EOF
    ip -n "$router_namespace" address add 198.18.0.1/24 dev "$router_device"
    in_router sysctl -qw "net.ipv6.conf.$router_device.disable_ipv6=0" 2>/dev/null || true
    ip -n "$router_namespace" address add 2001:db8:18::1/64 dev "$router_device" nodad 2>/dev/null || true
}

# router_show_logs LINES: the end of each program's log, for a person who has to find out why it did not start.
router_show_logs() {
    local program
    for program in $(router_programs "$target"); do
        [[ -s $state/$program.log ]] || continue
        warn "  the end of $program.log:"
        tail -n "$1" "$state/$program.log" | sed 's/^/    /' >&2
    done
}

# router_forget PROGRAM: what a program that has ended left in the file system.
router_forget() {
    local pid=none
    [[ ! -r $state/$1.pid ]] || read -r pid _ <"$state/$1.pid"
    # DPDK's run-time directory, named after its file prefix; DPDK itself never removes it.
    [[ $1 != dataplane ]] || rm -rf "/run/dpdk/pollux-$pid"
    rm -f "$state/$1.pid"
}

router_stop() {
    local program
    for program in dataplane control mosquitto; do
        process_stop "$state/$program.pid" 10
        router_forget "$program"
    done
    rmdir /run/dpdk 2>/dev/null || true
}
