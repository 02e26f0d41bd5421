# shellcheck shell=bash
# Background programs that outlive the tool that started them. A program is remembered in a file as "pid start-time",
# because a pid alone may have gone to somebody else by the time it is used: with its start time it is one process for
# ever. Sourced; needs lib/common.sh.

# process_start FILE LOG COMMAND...: starts COMMAND in a session of its own and remembers it in FILE.
process_start() {
    local file=$1 log=$2
    shift 2
    # Descriptor 9 is the lab's lock: a program that kept it would hold the lock as long as it lives.
    setsid "$@" >>"$log" 2>&1 </dev/null 9>&- &
    local pid=$!
    printf '%d %s\n' "$pid" "$(process_start_time "$pid")" >"$file"
    disown "$pid"
}

# The 22nd field of /proc/PID/stat; the second is a name in brackets that may hold anything.
process_start_time() {
    local stat fields
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
    read -ra fields <<<"${stat##*) }"
    # A zombie has ended; only its parent does not know yet.
    [[ ${fields[0]} == Z ]] || printf '%s' "${fields[19]}"
}

# process_pid FILE: prints the pid if that very process is alive, else fails.
process_pid() {
    local pid start
    [[ -r $1 ]] && read -r pid start <"$1" && [[ -n $start ]] || return 1
    [[ $(process_start_time "$pid") == "$start" ]] && printf '%d' "$pid"
}

process_gone() {
    ! process_pid "$1" >/dev/null
}

# process_signal FILE SIGNAL
process_signal() {
    local pid
    pid=$(process_pid "$1") || return 0
    kill -s "$2" "$pid" 2>/dev/null || true
}

# process_stop FILE SECONDS: asks it to end, insists after SECONDS.
process_stop() {
    process_signal "$1" TERM
    if ! wait_until "$2" process_gone "$1"; then
        process_signal "$1" KILL
        wait_until 5 process_gone "$1" || warn "process $(process_pid "$1") does not end"
    fi
}

# The pids of this shell and of all that started it, one a line.
process_ancestors() {
    local pid=$BASHPID stat fields
    while ((pid > 0)); do
        printf '%d\n' "$pid"
        { stat=$(<"/proc/$pid/stat"); } 2>/dev/null || return 0
        read -ra fields <<<"${stat##*) }"
        pid=${fields[1]}
    done
}
