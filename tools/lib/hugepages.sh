# shellcheck shell=bash disable=SC2154
# 2 MiB huge pages: reserves what is missing and gives back exactly that. Sourced; needs lib/common.sh.
# State, in the directory given: hugepages-added (how many pages), hugepages (a hugetlbfs, where the machine has none).
#
# Labs and benchmarks side by side share the kernel's one figure, which nobody can add to in one step: so whoever changes
# it holds a lock. What counts is the reserved number, without surplus pages: those are pages in use beyond it, which
# the kernel makes when somebody gives his reservation back while others use pages of it, and which go by themselves.

hugepages_sysfs=/sys/kernel/mm/hugepages/hugepages-2048kB

# hugepages_reserve STATE-DIRECTORY PAGES: makes PAGES free pages available; status 1 if the machine cannot.
hugepages_reserve() {
    local state=$1
    [[ -w $hugepages_sysfs/nr_hugepages ]] || return 1
    hugepages_locked hugepages_add "$state" "$2" && hugepages_mount "$state" && return
    hugepages_release "$state"
    return 1
}

# hugepages_release STATE-DIRECTORY
hugepages_release() {
    local state=$1
    if mountpoint -q "$state/hugepages" 2>/dev/null; then
        umount "$state/hugepages" || umount -l "$state/hugepages"
    fi
    rm -rf "$state/hugepages"
    [[ ! -f $state/hugepages-added ]] || hugepages_locked hugepages_remove "$state"
}

# The lock is gone with this process however it ends.
hugepages_locked() {
    (
        flock 8
        "$@"
    ) 8<"$hugepages_sysfs"
}

hugepages_read() {
    printf '%s' "$(<"$hugepages_sysfs/$1_hugepages")"
}

hugepages_write() {
    printf '%d\n' "$1" >$hugepages_sysfs/nr_hugepages
}

hugepages_reserved() {
    printf '%d' $(($(hugepages_read nr) - $(hugepages_read surplus)))
}

# What this state has added before stays added.
hugepages_add() {
    local state=$1 wanted=$2 missing before base
    missing=$((wanted - $(hugepages_read free)))
    ((missing > 0)) || return 0
    before=$(hugepages_reserved)
    base=$((before - $(hugepages_added "$state")))
    # Written down first: who is killed between the lines still gives the pages back.
    printf '%d\n' $(($(hugepages_read nr) + missing - base)) >"$state/hugepages-added"
    hugepages_write $(($(hugepages_read nr) + missing)) 2>/dev/null || true
    printf '%d\n' $(($(hugepages_reserved) - base)) >"$state/hugepages-added"
    (($(hugepages_read free) >= wanted))
}

hugepages_added() {
    cat "$1/hugepages-added" 2>/dev/null || printf 0
}

hugepages_remove() {
    local state=$1 left
    left=$(($(hugepages_reserved) - $(hugepages_added "$state")))
    hugepages_write $((left > 0 ? left : 0))
    rm -f "$state/hugepages-added"
}

# DPDK finds its pages through a mounted hugetlbfs; a machine without systemd often has none.
hugepages_mount() {
    grep -q ' hugetlbfs .*\(pagesize=2M\|rw\)' /proc/mounts && return 0
    mkdir -p "$1/hugepages"
    mount -t hugetlbfs -o pagesize=2M "$lab_name" "$1/hugepages" 2>/dev/null
}
