# shellcheck shell=bash disable=SC2154
# 2 MiB huge pages: reserves what is missing and gives back exactly that. Sourced; needs lib/common.sh.
# State, in the directory given: hugepages-added (how many pages), hugepages (a hugetlbfs, where the machine has none).

hugepages_sysfs=/sys/kernel/mm/hugepages/hugepages-2048kB

# hugepages_reserve STATE-DIRECTORY PAGES: makes PAGES free pages available; status 1 if the machine cannot.
hugepages_reserve() {
    local state=$1 wanted=$2 free total missing
    [[ -w $hugepages_sysfs/nr_hugepages ]] || return 1
    free=$(<$hugepages_sysfs/free_hugepages)
    total=$(<$hugepages_sysfs/nr_hugepages)
    missing=$((wanted - free))
    if ((missing > 0)); then
        # Written down first: a lab that is killed between the two lines still gives the pages back.
        printf '%d\n' "$missing" >"$state/hugepages-added"
        printf '%d\n' $((total + missing)) >$hugepages_sysfs/nr_hugepages 2>/dev/null || true
        printf '%d\n' $(($(<$hugepages_sysfs/nr_hugepages) - total)) >"$state/hugepages-added"
    fi
    free=$(<$hugepages_sysfs/free_hugepages)
    if ((free < wanted)) || ! hugepages_mount "$state"; then
        hugepages_release "$state"
        return 1
    fi
}

# DPDK finds its pages through a mounted hugetlbfs; a machine without systemd often has none.
hugepages_mount() {
    grep -q ' hugetlbfs .*\(pagesize=2M\|rw\)' /proc/mounts && return 0
    mkdir -p "$1/hugepages"
    mount -t hugetlbfs -o pagesize=2M "$lab_name" "$1/hugepages" 2>/dev/null
}

# hugepages_release STATE-DIRECTORY
hugepages_release() {
    local state=$1 added total
    if mountpoint -q "$state/hugepages" 2>/dev/null; then
        umount "$state/hugepages" || umount -l "$state/hugepages"
    fi
    rm -rf "$state/hugepages"
    [[ -f $state/hugepages-added ]] || return 0
    added=$(<"$state/hugepages-added")
    total=$(<$hugepages_sysfs/nr_hugepages)
    printf '%d\n' $((total > added ? total - added : 0)) >$hugepages_sysfs/nr_hugepages
    rm -f "$state/hugepages-added"
}
