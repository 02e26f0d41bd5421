# shellcheck shell=bash disable=SC2034
# What every tool here shares: where the tree is, how it speaks, how it fails. Sourced, never run.

pollux_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Where the programs are built; an absolute path in POLLUX_BUILD names another directory.
pollux_build=${POLLUX_BUILD:-$pollux_root/build}
# POLLUX_LAB names another lab beside the usual one: namespaces, state and programs of its own.
lab_name=${POLLUX_LAB:-pollux-lab}

say() {
    printf '%s\n' "$*"
}

warn() {
    printf '%s\n' "$*" >&2
}

die() {
    warn "$(basename "$0"): $*"
    exit 1
}

need_root() {
    ((EUID == 0)) || die "not root. Namespaces, network devices and huge pages are made by root: sudo $0 $*"
}

# Seconds with one decimal since $1, a value of $EPOCHREALTIME.
seconds_since() {
    local start=${1/[.,]/} now=${EPOCHREALTIME/[.,]/}
    local tenths=$(((now - start) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

# wait_until SECONDS COMMAND...: polls COMMAND until it succeeds; status 1 when the time is over.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}
