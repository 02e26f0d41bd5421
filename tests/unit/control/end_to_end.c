/* pollux-control and polluxctl, as programs, against the fake dataplane: answers, refusals, and either side killed. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/control/fake_dataplane.h"

static char run_dir[64], config_file[96], output[4 << 20];
static pid_t control, dataplane;
static struct fake_options options;

static void write_config(const char *more)
{
    FILE *file = fopen(config_file, "w");
    fprintf(file,
            "dataplane: {workers: 2}\n"
            "ports:\n  - {name: lan0, device: net_null0, addresses: [198.18.0.1/24, '2001:db8:18::1/64']}\n"
            "listeners:\n  - name: mqtt\n%s",
            more);
    fclose(file);
}

static void start_control(void)
{
    control = fork();
    if (control == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(126);
        execl(POLLUX_CONTROL, "pollux-control", "--config", config_file, "--run-dir", run_dir, NULL);
        _exit(127);
    }
}

static void start_dataplane(void)
{
    dataplane = fake_dataplane_start(run_dir, &options);
    cr_assert_gt(dataplane, 0);
}

static int end_process(pid_t *pid, int number)
{
    int status = -1;
    if (*pid > 0) {
        kill(*pid, number);
        waitpid(*pid, &status, 0);
    }
    *pid = 0;
    return status;
}

/* Run polluxctl with the words of a command line; its output, both streams, is in `output`. Returns the exit status. */
static int __attribute__((format(printf, 1, 2))) ctl(const char *format, ...)
{
    char words[512], command[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    snprintf(command, sizeof command, "LC_ALL=C.UTF-8 %s --run-dir %s %s 2>&1", POLLUXCTL, run_dir, words);
    FILE *pipe = popen(command, "r");
    size_t length = fread(output, 1, sizeof output - 1, pipe);
    output[length] = '\0';
    return WEXITSTATUS(pclose(pipe));
}

static void expect(int status, const char *text, const char *words)
{
    int got = ctl("%s", words);
    cr_assert_eq(got, status, "polluxctl %s: exit status %d, not %d:\n%s", words, got, status, output);
    cr_assert(strstr(output, text), "polluxctl %s does not say '%s' but\n%s", words, text, output);
}

static json_t *ctl_json(const char *words)
{
    json_error_t error;
    cr_assert_eq(ctl("--json %s", words), 0, "%s", output);
    json_t *document = json_loads(output, JSON_ALLOW_NUL, &error);
    cr_assert(document, "%s in\n%s", error.text, output);
    return document;
}

static json_int_t dataplane_number(const char *field)
{
    json_t *document = ctl_json("show version");
    json_int_t value = json_integer_value(json_object_get(json_object_get(document, "dataplane"), field));
    json_decref(document);
    return value;
}

/* Ask again and again until the words give this text: for what takes a moment. */
static void await(const char *text, const char *words)
{
    struct timespec pause = {.tv_nsec = 20000000};
    for (int i = 0; i < 250; i++) {
        ctl("%s", words);
        if (strstr(output, text))
            return;
        nanosleep(&pause, NULL);
    }
    cr_assert_fail("polluxctl %s never says '%s' but\n%s", words, text, output);
}

static void setup(void)
{
    strcpy(run_dir, "/tmp/pollux-ctl-XXXXXX");
    cr_assert(mkdtemp(run_dir));
    snprintf(config_file, sizeof config_file, "%s/pollux.yaml", run_dir);
    write_config("");
    options = (struct fake_options){.clients = 10};
    start_control();
}

static void teardown(void)
{
    char path[128];
    const char *const files[] = {"pollux.yaml", "control.sock", "dataplane.sock"};
    end_process(&control, SIGKILL);
    end_process(&dataplane, SIGKILL);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", run_dir, files[i]);
        unlink(path);
    }
    rmdir(run_dir);
}

TestSuite(end_to_end, .init = setup, .fini = teardown, .timeout = 60);

static void start_both(void)
{
    start_dataplane();
    expect(0, "", "wait ready --timeout 10");
}

Test(end_to_end, every_listing_shows_what_the_dataplane_says)
{
    start_both();
    expect(0, "12.3 %", "show runtime");
    expect(0, "dataplane: running for", "show runtime");
    expect(0, "198.18.0.1/24, 2001:db8:18::1/64", "show ports");
    expect(0, "dev-00007", "show clients");
    expect(0, "*:1883", "show listeners");
    expect(0, "established", "show connections");
    expect(0, "sessions", "show census");
    expect(0, "Publishes received", "show counters");
    expect(0, "p50 1.0k", "show counters");
    expect(0, "mqtt.max-packet-size", "show config");
    expect(0, "pollux.yaml:3", "show config");
    expect(0, "pollux-control  0.1.0", "show version");
}

Test(end_to_end, where_the_time_of_the_workers_goes)
{
    start_both();
    expect(0, "rx                     25.0 %", "show runtime");
    expect(0, "match                  75.0 %", "show runtime");
    expect(0, "1.0 us                100.0 %", "show runtime");
    json_t *document = ctl_json("show runtime");
    const json_t *worker = json_array_get(json_object_get(document, "records"), 0);
    cr_expect_eq(json_integer_value(json_object_get(worker, "cycles-per-message")), 100);
    cr_expect_eq(json_integer_value(json_array_get(json_array_get(json_object_get(worker, "loop-times"), 0), 0)), 1024);
    json_decref(document);
}

Test(end_to_end, top_measures_an_interval)
{
    start_both();
    expect(0, "match        #######################.......  75.0 %", "top --once --interval 1");
    expect(0, "dev-0000", "top --once --interval 1 --sort backlog --limit 3");
    json_t *document = ctl_json("top --interval 1");
    const json_t *worker = json_array_get(json_object_get(document, "workers"), 0);
    cr_expect_eq(json_integer_value(json_object_get(worker, "busy-permille")), 250);
    cr_expect_gt(json_real_value(json_object_get(document, "seconds")), 0.9);
    cr_expect_gt(json_array_size(json_object_get(document, "clients")), 0);
    json_decref(document);
    expect(2, "--interval takes seconds above 0", "top --interval 0");
    expect(2, "--interval and --once are for top, show tcp and show counters", "show ports --once");
    expect(2, "rate or backlog", "top --once --sort id");
}

Test(end_to_end, what_the_stack_has_met)
{
    start_both();
    await("recovery  tcp_timeouts     14  events  retransmission timeouts", "show tcp");
    expect(0, "1 more never happened; --all shows them", "show tcp");
    cr_expect(strstr(output, "tcp_undone") == NULL && strstr(output, "messages_in") == NULL, "%s", output);
    expect(0, "tcp_undone        0  events", "show tcp --all");
    cr_expect(strstr(output, "never happened") == NULL, "%s", output);
    expect(0, "tcp_timeouts      7  events", "show tcp --worker 1");
    expect(1, "there is no such worker; they are 0 to 1", "show tcp --worker 2");
    expect(0, "GROUP  NAME  VALUE  UNIT", "show tcp --filter name=nothing");
    cr_expect(strstr(output, "never happened") == NULL, "%s", output);
    expect(2, "--worker is for show tcp and show counters", "show clients --worker 1");
    expect(2, "--all is for show tcp", "show counters --all");
    json_t *document = ctl_json("show tcp");
    const json_t *record = json_array_get(json_object_get(document, "records"), 0);
    cr_expect_str_eq(json_string_value(json_object_get(record, "group")), "recovery");
    cr_expect_eq(json_integer_value(json_array_get(json_object_get(record, "workers"), 1)), 7);
    json_decref(document);
}

Test(end_to_end, counters_as_they_change)
{
    start_both();
    expect(0, "nothing was counted in", "show tcp --interval 1 --once");
    expect(0, "messages_in", "show counters --interval 1 --once");
    expect(0, "In 1.", "show counters --interval 1");
    expect(2, "--sort and --limit do not go with --interval", "show tcp --interval 1 --limit 3");
    expect(2, "are for top, show tcp and show counters", "show clients --interval 1");
    json_t *document = ctl_json("show counters --interval 1 --filter name=messages_in");
    const json_t *record = json_array_get(json_object_get(document, "records"), 0);
    const json_int_t change = json_integer_value(json_object_get(record, "change"));
    const double seconds = json_real_value(json_object_get(document, "seconds"));
    cr_expect_gt(change, 0);
    cr_expect_lt(change, json_integer_value(json_object_get(record, "value")));
    cr_expect_float_eq(json_real_value(json_object_get(record, "per-second")), (double)change / seconds, 1.0);
    json_decref(document);
}

/* ---- captures ---------------------------------------------------------------------------------------------------- */

static char capture_file[128];

/* In the background; its messages go to a file beside the capture's. */
static pid_t start_capture(const char *words)
{
    char command[1024];
    snprintf(capture_file, sizeof capture_file, "%s/a.pcapng", run_dir);
    unlink(capture_file);
    snprintf(command, sizeof command, "exec %s --run-dir %s capture -w %s %s >%s/capture.out 2>&1", POLLUXCTL, run_dir,
             capture_file, words, run_dir);
    const pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/bin/sh", "sh", "-c", command, NULL);
        _exit(127);
    }
    return child;
}

/* Until its file has begun. */
static void await_capture(void)
{
    struct timespec pause = {.tv_nsec = 10000000};
    struct stat status;
    for (int i = 0; i < 500; i++, nanosleep(&pause, NULL))
        if (stat(capture_file, &status) == 0 && status.st_size > 0)
            return;
    cr_assert_fail("no capture begins");
}

static int end_capture(pid_t child)
{
    char path[128];
    int status = -1;
    waitpid(child, &status, 0);
    snprintf(path, sizeof path, "%s/capture.out", run_dir);
    FILE *file = fopen(path, "r");
    const size_t length = fread(output, 1, sizeof output - 1, file);
    output[length] = '\0';
    fclose(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Walks the blocks: returns packets, or -1 when the file is not whole or its packets are not in order. */
static int captured_packets(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint32_t block[3], last;
    uint64_t time, before = 0;
    int packets = 0;
    if (!file)
        return -1;
    while (fread(block, 4, 2, file) == 2) {
        const long end = ftell(file) + (long)block[1] - 12;
        if (block[0] == 6) {
            cr_assert_eq(fread(block, 4, 3, file), 3);
            time = (uint64_t)block[1] << 32 | block[2];
            packets = time < before ? -1000000 : packets + 1;
            before = time;
        }
        if (fseek(file, end, SEEK_SET) != 0 || fread(&last, 4, 1, file) != 1)
            packets = -1000000;
    }
    fclose(file);
    return packets < 0 ? -1 : packets;
}

static void remove_capture(void)
{
    char path[128];
    unlink(capture_file);
    snprintf(path, sizeof path, "%s/capture.out", run_dir);
    unlink(path);
}

Test(end_to_end, a_capture_ends_at_its_bounds)
{
    struct stat status;
    start_both();
    cr_assert_eq(end_capture(start_capture("--packets 25")), 0, "%s", output);
    cr_expect(strstr(output, "25 packets, ") && strstr(output, "--packets"), "%s", output);
    cr_expect_eq(captured_packets(capture_file), 25);
    cr_assert_eq(stat(capture_file, &status), 0);
    cr_expect_eq(status.st_mode & 0777, 0600);
    cr_assert_eq(end_capture(start_capture("--bytes 20KiB")), 0, "%s", output);
    cr_assert_eq(stat(capture_file, &status), 0);
    cr_expect(status.st_size > 15000 && status.st_size <= 20480, "%ld", (long)status.st_size);
    cr_expect_gt(captured_packets(capture_file), 20);
    cr_assert_eq(end_capture(start_capture("--seconds 1 --json")), 0, "%s", output);
    json_t *summary = json_loads(output, 0, NULL);
    cr_assert(summary, "%s", output);
    cr_expect_str_eq(json_string_value(json_object_get(summary, "ended")), "time");
    cr_expect_str_eq(json_string_value(json_object_get(summary, "file")), capture_file);
    cr_expect_eq(json_integer_value(json_object_get(summary, "packets")), captured_packets(capture_file));
    json_decref(summary);
    remove_capture();
}

Test(end_to_end, a_capture_ends_when_it_is_told_to)
{
    struct timespec pause = {.tv_nsec = 300000000};
    start_both();
    pid_t child = start_capture("--client dev-1");
    await_capture();
    expect(1, "(client dev-1); wait for its end, or end it: polluxctl capture --stop", "capture -w /dev/null");
    nanosleep(&pause, NULL);
    kill(child, SIGINT);
    cr_assert_eq(end_capture(child), 0, "%s", output);
    cr_expect(strstr(output, "(stopped)"), "%s", output);
    cr_expect_gt(captured_packets(capture_file), 10);
    child = start_capture("");
    await_capture();
    expect(0, "the capture ends", "capture --stop");
    cr_assert_eq(end_capture(child), 0, "%s", output);
    expect(1, "no capture is running", "capture --stop");
    child = start_capture("");
    await_capture();
    kill(child, SIGKILL);
    cr_expect_eq(end_capture(child), -SIGKILL);
    await("2 packets", "capture -w /dev/null --packets 2");
    remove_capture();
}

Test(end_to_end, a_capture_survives_neither_program)
{
    start_both();
    pid_t child = start_capture("");
    await_capture();
    end_process(&dataplane, SIGKILL);
    cr_expect_eq(end_capture(child), 1);
    cr_expect(strstr(output, "the dataplane went away; the capture has what came before"), "%s", output);
    cr_expect_geq(captured_packets(capture_file), 0);
    expect(1, "start pollux-dataplane", "capture -w /dev/null");
    start_both();
    child = start_capture("");
    await_capture();
    end_process(&control, SIGKILL);
    cr_expect_eq(end_capture(child), 3);
    cr_expect_geq(captured_packets(capture_file), 0);
    remove_capture();
}

Test(end_to_end, captured_packets_that_can_not_be_end_the_link)
{
    options.corrupt_capture = 1;
    start_both();
    expect(1, "the dataplane went away", "capture -w /dev/null");
    await("failed", "show version");
    await("capture: a packet of 70000 of 1000 bytes", "show version");
}

Test(end_to_end, what_a_capture_does_not_take)
{
    char path[128];
    start_both();
    snprintf(path, sizeof path, "%s/refused", run_dir);
    expect(2, "capture needs -w FILE, or -w - for a pipe", "capture");
    expect(1, "No such file or directory", "capture -w /nowhere/at/all");
    expect(2, "are for capture", "show clients --client x");
    expect(2, "--stop is for drain and capture", "show clients --stop");
    expect(2, "are for lists", "capture -w /dev/null --limit 3");
    char words[256];
    snprintf(words, sizeof words, "capture -w %s --port 0", path);
    expect(1, "--port takes a TCP port from 1 to 65535", words);
    cr_expect_neq(access(path, F_OK), 0, "nothing is left of a capture that never began");
    FILE *file = fopen(path, "w");
    fputs("kept", file);
    fclose(file);
    expect(1, "--port takes", words);
    struct stat status;
    cr_expect(stat(path, &status) == 0 && status.st_size == 4, "what was there before is kept");
    unlink(path);
    expect(0, "polluxctl capture -w - --packets 100 | tshark -r -", "capture --help");
    /* Before the word, -w is what it is for every other command. */
    expect(0, "dev-00007", "-w show clients");
    expect(0, "dev-00007", "show clients -w");
}

Test(end_to_end, words_may_be_cut_short_and_usage_errors_end_with_2)
{
    start_both();
    expect(0, "dev-00007", "sh cl");
    expect(2, "it may be connections, counters, config", "sh co");
    expect(2, "there is no command 'bla'", "bla");
    expect(2, "there is no command 'bla'; there are runtime, ports", "show bla");
    expect(2, "needs CLIENT", "kick");
    expect(2, "a word too many: x", "show ports x");
    expect(2, "--limit takes a number", "show clients --limit x");
    expect(2, "--limit takes a number above 0", "show clients --limit 0");
    expect(2, "--rate takes clients a second above 0", "drain --to a --rate 0");
    expect(2, "show needs another word: runtime, ports", "show");
    expect(0, "user delete NAME", "user --help");
    expect(2, "FIELD=VALUE", "show clients --filter x");
    expect(2, "are for lists", "kick a --limit 3");
    expect(2, "Try: polluxctl --help", "--nonsense");
    expect(0, "Exit status: 0 done", "--help");
    expect(0, "polluxctl show clients --sort queued --limit 20", "show clients --help");
    expect(0, "Usage: polluxctl drain --to HOST[:PORT] [--permanent] [--rate N] | --stop", "drain --help");
    expect(0, "complete -F _polluxctl polluxctl", "completion bash");
    cr_assert_eq(ctl("show config > /dev/full"), 1, "a full disk is no success");
}

/* What bash offers behind the words; the last one is completed. */
static void expect_completion(const char *offered, const char *words)
{
    char command[1024];
    snprintf(command, sizeof command,
             "bash -c 'source <(%s completion bash); COMP_WORDS=(polluxctl %s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
             "_polluxctl; echo ${COMPREPLY[*]}'",
             POLLUXCTL, words);
    FILE *pipe = popen(command, "r");
    output[fread(output, 1, sizeof output - 1, pipe)] = '\0';
    pclose(pipe);
    output[strcspn(output, "\n")] = '\0';
    cr_assert_str_eq(output, offered, "polluxctl %s<TAB> offers '%s', not '%s'", words, output, offered);
}

Test(end_to_end, bash_completes_words_and_the_options_of_a_command)
{
    expect_completion("clients connections counters census config", "show c");
    expect_completion("ready", "wait \"\"");
    expect_completion("--rate", "drain --ra");
    expect_completion("--rate", "dr --ra");
    expect_completion("", "show clients --ra");
    expect_completion("--worker", "show tcp --wo");
    expect_completion("--snap-length", "capture --port 5 --sn");
    expect_completion("rate backlog", "top --sort \"\"");
}

Test(end_to_end, users_are_added_listed_and_deleted)
{
    char words[256], path[128];
    snprintf(words, sizeof words, "user add bee < %s", config_file); /* its first line is a password like any */
    start_both();
    expect(1, "the configuration has no authentication.users-file", words);
    end_process(&control, SIGKILL);
    snprintf(path, sizeof path, "%s/users", run_dir);
    char section[256];
    snprintf(section, sizeof section, "authentication: {users-file: %s}\n", path);
    write_config(section);
    start_control();
    await("dev-00007", "show clients");
    expect(0, "bee: may log in", words);
    expect(0, "SCRAM-SHA-256", "user list --filter name=bee");
    expect(0, "authentication.users-file", "show config");
    expect(2, "no password was given", "user add wasp < /dev/null");
    expect(2, "needs NAME", "user add");
    expect(0, "bee: may not log in any more", "user delete bee");
    expect(1, "there is no user 'bee'", "user delete bee");
    unlink(path);
}

Test(end_to_end, clients_are_sent_to_another_server)
{
    start_both();
    expect(0, "off", "show drain");
    expect(2, "needs --to HOST[:PORT], or --stop", "drain");
    expect(2, "needs --to HOST[:PORT], or --stop", "drain --to a --stop");
    expect(2, "are for drain", "show clients --permanent");
    expect(2, "--rate takes clients a second", "drain --to a --rate x");
    expect(1, "the rate is 1..1000000", "drain --to a --rate 1000001");
    expect(1, "HOST or HOST:PORT", "drain --to ''");
    expect(1, "printable characters", "drain --to \xc3\xbc");
    expect(0, "draining", "drain --to broker2.example.net:8883 --permanent --rate 50");
    json_t *document = ctl_json("show drain");
    const json_t *record = json_array_get(json_object_get(document, "records"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(record, "to")), "broker2.example.net:8883");
    cr_assert(json_is_true(json_object_get(record, "permanent")));
    cr_assert_eq(json_integer_value(json_object_get(record, "rate")), 50);
    cr_assert_eq(json_integer_value(json_object_get(record, "connected")), 10);
    json_decref(document);
    expect(0, "off", "drain --stop");
    expect(0, "off", "show drain");
}

Test(end_to_end, lists_are_filtered_sorted_and_limited)
{
    start_both();
    json_t *document = ctl_json("show clients --sort queued --limit 3");
    json_t *records = json_object_get(document, "records");
    cr_assert_eq(json_array_size(records), 3);
    json_int_t last = INT64_MAX;
    for (size_t i = 0; i < 3; i++) {
        json_int_t queued = json_integer_value(json_object_get(json_array_get(records, i), "queued-messages"));
        cr_assert_leq(queued, last);
        last = queued;
    }
    cr_assert_eq(last, 757, "the third of ten by i * 7919 %% 1000");
    json_decref(document);
    expect(0, "dev-00000", "show clients --sort=-queued --limit 1");
    document = ctl_json("show clients -f state=offline");
    cr_assert_eq(json_array_size(json_object_get(document, "records")), 2);
    json_decref(document);
    document = ctl_json("show clients -f 'id=dev-0000[0-4]' -f 'queued=>700' -f 'worker=0'");
    cr_assert_eq(json_array_size(json_object_get(document, "records")), 1);
    json_decref(document);
    document = ctl_json("show clients --limit 4");
    cr_assert_eq(json_array_size(json_object_get(document, "records")), 4);
    json_decref(document);
    expect(1, "there is no field 'bla'; fields: id, ", "show clients -f bla=1");
    expect(1, "there is no field 'bla'", "show clients --sort bla");
    expect(1, "filter queued: 'many' is not a number", "show clients -f 'queued=>many'");
    expect(1, "at most 1000", "show clients --sort queued --limit 5000");
}

Test(end_to_end, many_pages_arrive_whole_and_in_order)
{
    options.clients = 3000;
    start_both();
    json_t *document = ctl_json("show clients");
    json_t *records = json_object_get(document, "records");
    cr_assert_eq(json_array_size(records), 3000);
    for (size_t i = 2; i < 3000; i++) {
        char id[16];
        snprintf(id, sizeof id, "dev-%05zu", i);
        cr_assert_str_eq(json_string_value(json_object_get(json_array_get(records, i), "id")), id);
    }
    json_decref(document);
}

Test(end_to_end, tables_fit_the_terminal)
{
    start_both();
    char command[512];
    snprintf(command, sizeof command, "COLUMNS=60 LC_ALL=C.UTF-8 %s --run-dir %s show clients", POLLUXCTL, run_dir);
    FILE *pipe = popen(command, "r");
    char line[1024];
    int lines = 0;
    while (fgets(line, sizeof line, pipe)) {
        lines++;
        cr_assert(strlen(line) <= 61 || strstr(line, "columns more"), "too wide: %s", line);
    }
    pclose(pipe);
    cr_assert_eq(lines, 12);
}

Test(end_to_end, nothing_from_a_client_reaches_the_terminal_raw)
{
    start_both();
    cr_assert_eq(ctl("show clients"), 0);
    cr_assert_null(strchr(output, '\x1b'));
    cr_assert(strstr(output, "?[31m?v1"));
}

Test(end_to_end, kick_says_whom_it_disconnected)
{
    start_both();
    expect(0, "dev-00004: disconnected", "kick dev-00004");
    expect(1, "no client 'dev-00004' is connected", "kick dev-00004");
    expect(0, "disconnected", "kick '#0x1'");
    expect(1, "no client", "kick nobody");
}

Test(end_to_end, killed_dataplane_is_reported_and_the_next_one_taken_in)
{
    await("dataplane: down since", "show runtime");
    expect(1, "start pollux-dataplane with the same --run-dir", "show clients");
    start_both();
    expect(0, "messages_in", "show counters");
    end_process(&dataplane, SIGKILL);
    await("dataplane: down since", "show runtime");
    expect(1, "the dataplane is down since", "show clients");
    expect(0, "messages_in", "show counters"); /* the last figures stay */
    expect(0, "dataplane: down since", "show counters --interval 1");
    expect(1, "not ready after 0 s", "wait ready --timeout 0");
    start_both();
    expect(0, "dev-00007", "show clients");
    cr_assert_eq(dataplane_number("taken-in"), 2);
}

Test(end_to_end, killed_control_takes_the_running_dataplane_over)
{
    start_both();
    json_int_t generation = dataplane_number("generation");
    end_process(&control, SIGKILL);
    expect(3, "is not any more; start it with: pollux-control --config FILE", "show runtime");
    start_control();
    expect(0, "", "wait ready --timeout 10");
    cr_assert_eq(dataplane_number("generation"), generation, "the dataplane keeps its configuration");
    expect(0, "dev-00007", "show clients");
    ctl("show runtime");
    cr_assert_null(strstr(output, "another configuration"));
    end_process(&control, SIGKILL);
    write_config("mqtt: {max-qos: 1}\n");
    start_control();
    expect(0, "", "wait ready --timeout 10");
    expect(0, "It runs another configuration", "show runtime");
    expect(0, "It runs another configuration", "show config");
}

Test(end_to_end, sigterm_ends_cleanly_and_a_second_control_is_refused)
{
    char path[128];
    struct stat status;
    start_both();
    pid_t first = control;
    start_control();
    int code = end_process(&control, 0);
    cr_assert(WIFEXITED(code) && WEXITSTATUS(code) == 1, "two controls on one run directory");
    control = first;
    snprintf(path, sizeof path, "%s/control.sock", run_dir);
    cr_assert_eq(stat(path, &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0660);
    kill(control, SIGHUP); /* what tells other servers to read their configuration again */
    expect(0, "running", "show version");
    code = end_process(&control, SIGTERM);
    cr_assert(WIFEXITED(code) && WEXITSTATUS(code) == 0);
    cr_assert_neq(stat(path, &status), 0, "the socket is removed");
    expect(3, "is pollux-control running", "show runtime");
}

Test(end_to_end, a_dataplane_that_refuses_says_why)
{
    options.fail = "port lan0: there is no device net_null0";
    start_dataplane();
    await("dataplane: failed", "show runtime");
    expect(0, "there is no device net_null0", "show runtime");
    expect(1, "there is no device net_null0", "show clients");
    expect(1, "there is no device net_null0", "wait ready --timeout 0");
}

Test(end_to_end, another_layout_is_refused_with_advice)
{
    options.wrong_layout = 1;
    start_dataplane();
    await("install the same version", "show runtime");
}

Test(end_to_end, a_dataplane_that_does_not_answer_times_out)
{
    options.mute = 1;
    start_both();
    expect(1, "did not answer within 5 s", "show clients");
    expect(0, "mqtt.max-qos", "show config"); /* control itself is fine */
}

Test(end_to_end, show_runtime_says_that_the_dataplane_went_away_while_it_was_asked)
{
    char command[256];
    options.mute = 1;
    start_both();
    snprintf(command, sizeof command, "(sleep 0.5; kill -9 %d) & exit 0", (int)dataplane);
    cr_assert_eq(system(command), 0);
    expect(0, "dataplane: down since", "show runtime");
}

Test(end_to_end, corrupt_replies_end_the_link_not_control)
{
    options.corrupt_reply = 1;
    start_both();
    expect(1, "the dataplane went away before it answered", "show clients");
    expect(0, "mqtt.max-qos", "show config");
    await("dataplane: running", "show version");
}

Test(end_to_end, corrupt_ring_indices_end_the_link_not_control)
{
    options.corrupt_index = 1;
    start_both();
    ctl("show clients");
    ctl("show clients");
    expect(0, "mqtt.max-qos", "show config");
}

/* ---- the admin socket itself ------------------------------------------------------------------------------------ */

static int admin_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/control.sock", run_dir);
    struct timespec pause = {.tv_nsec = 20000000};
    for (int i = 0; i < 250; i++) {
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
            return fd;
        nanosleep(&pause, NULL);
    }
    cr_assert_fail("control does not listen");
    return -1;
}

static void admin_exchange(const char *request, const char *reply)
{
    int fd = admin_connect();
    size_t length = 0;
    ssize_t size;
    cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    shutdown(fd, SHUT_WR);
    while ((size = recv(fd, output + length, sizeof output - 1 - length, 0)) > 0)
        length += (size_t)size;
    output[length] = '\0';
    close(fd);
    cr_assert(strstr(output, reply), "%s\ngives\n%s", request, output);
}

Test(end_to_end, bad_requests_get_an_error_and_the_next_one_its_answer)
{
    const char *const bad[] = {"x\n",
                               "[]\n",
                               "{}\n",
                               "{\"command\":\"show\"}\n",
                               "{\"command\":\"show\",\"args\":[1]}\n",
                               "{\"command\":\"show\",\"args\":[\"config\"],\"filter\":[]}\n",
                               "{\"command\":\"show\",\"args\":[\"config\"],\"filter\":{\"a\":1}}\n",
                               "{\"command\":\"show\",\"args\":[\"config\"],\"limit\":-1}\n",
                               "{\"command\":\"show\",\"args\":[\"config\"],\"limit\":\"x\"}\n",
                               "{\"command\":\"kick\",\"args\":[]}\n",
                               "\n",
                               "{\"command\":\"kick\",\"args\":[\"\"]}\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char both[512];
        snprintf(both, sizeof both, "%s{\"command\":\"show\",\"args\":[\"version\"]}\n", bad[i]);
        admin_exchange(both, "{\"error\":");
        cr_assert(strstr(output, "\"config-file\""), "%s", output);
    }
}

Test(end_to_end, an_endless_request_is_cut_off)
{
    int fd = admin_connect();
    static char junk[4096];
    memset(junk, 'x', sizeof junk);
    for (int i = 0; i < 100; i++)
        if (send(fd, junk, sizeof junk, MSG_NOSIGNAL) < 0)
            break;
    cr_assert_leq(recv(fd, junk, sizeof junk, 0), 0);
    close(fd);
    admin_exchange("{\"command\":\"show\",\"args\":[\"version\"]}\n", "config-file");
}

Test(end_to_end, readers_that_do_not_read_or_leave_hold_nobody_up)
{
    static const char request[] = "{\"command\":\"show\",\"args\":[\"clients\"]}\n";
    options.clients = 50000;
    start_both();
    int slow[4];
    for (int i = 0; i < 4; i++) {
        slow[i] = admin_connect();
        cr_assert_gt(send(slow[i], request, sizeof request - 1, MSG_NOSIGNAL), 0);
    }
    expect(0, "dev-00002", "show clients --limit 5");
    close(slow[0]);
    close(slow[1]);
    expect(0, "dev-49999", "show clients --filter id=dev-49999");
    char *buffer = malloc(1 << 16);
    ssize_t size, total = 0;
    shutdown(slow[2], SHUT_WR);
    while ((size = recv(slow[2], buffer, 1 << 16, 0)) > 0)
        total += size;
    cr_assert_gt(total, 50000 * 200, "the slow one gets all of it when it reads");
    free(buffer);
    close(slow[2]);
    /* The last one is in the middle of its list when the dataplane is replaced: another one's list would not fit. */
    end_process(&dataplane, SIGKILL);
    start_both();
    char *rest = calloc(1, 64 << 20);
    total = 0;
    shutdown(slow[3], SHUT_WR);
    while ((size = recv(slow[3], rest + total, (64 << 20) - 1 - (size_t)total, 0)) > 0)
        total += size;
    cr_assert(strstr(rest, "{\"error\":\"the dataplane "), "...%s", rest + (total > 300 ? total - 300 : 0));
    free(rest);
    close(slow[3]);
}

Test(end_to_end, more_connections_than_allowed_are_told)
{
    int fds[70];
    for (int i = 0; i < 70; i++)
        fds[i] = admin_connect();
    char text[256] = "";
    cr_assert_gt(recv(fds[69], text, sizeof text - 1, 0), 0);
    cr_assert(strstr(text, "too many"));
    for (int i = 0; i < 70; i++)
        close(fds[i]);
    await("config-file", "--json show version");
}
