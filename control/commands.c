/* The commands of the admin socket: see control/commands.h. */
#include "control/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/json_records.h"
#include "control/record_list.h"

struct command {
    const struct command_context *context;
    struct command_sink sink;
    json_t *request;
    struct record_list list;
    struct shm_request message; /* the page asked for next */
    uint32_t dataplane;         /* which of those taken in the cursor belongs to */
    uint32_t pending;           /* id at the peer; 0: none under way */
    bool waiting;               /* for command_resume */
    bool failed;                /* the error line is out: drain the page silently */
    bool complete;              /* no further page is needed */
    struct capture *capture;    /* NULL: it is none */
    uint64_t hidden;            /* counters of 0 that nobody asked for */
    char error[SHM_ERROR_TEXT];
};

/* ---- lines ----------------------------------------------------------------------------------------------------- */

static void put_line(const struct command_sink *sink, const char *kind, json_t *value)
{
    json_t *line = json_object();
    json_object_set_new(line, kind, value);
    sink->line(sink->argument, line);
    json_decref(line);
}

static void put_error(const struct command_sink *sink, const char *text)
{
    put_line(sink, "error", json_from_bytes((const uint8_t *)text, strlen(text)));
}

static json_t *dataplane_object(const struct command_context *context)
{
    struct peer_info info;
    peer_describe(context->peer, &info);
    int64_t now = (int64_t)time(NULL);
    json_t *object =
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:b, s:I, s:s, s:s}", "state", peer_state_name(info.state), "since",
                  (json_int_t)info.since, "since-seconds", (json_int_t)(now - info.since), "pid", (json_int_t)info.pid,
                  "generation", (json_int_t)info.generation, "same-config", info.same_config, "taken-in",
                  (json_int_t)info.seen, "build", info.build_id, "text", info.text);
    if (info.state == PEER_RUNNING)
        json_object_set_new(object, "uptime-seconds", json_integer(now - info.started));
    return object;
}

static void put_end(const struct command_context *context, const struct command_sink *sink, uint64_t count,
                    uint64_t hidden)
{
    json_t *end = json_object();
    json_object_set_new(end, "count", json_integer((json_int_t)count));
    if (hidden)
        json_object_set_new(end, "hidden", json_integer((json_int_t)hidden));
    json_object_set_new(end, "dataplane", dataplane_object(context));
    put_line(sink, "end", end);
}

/* ---- lists that control knows itself ---------------------------------------------------------------------------- */

/* Offer a record to the list and pass it on when it is wanted now. Takes the reference. False: stop. */
static bool offer(struct command *command, json_t *record)
{
    struct shm_error error;
    enum record_list_result result = record_list_offer(&command->list, record, &error);
    if (result == RECORD_LIST_EMIT)
        put_line(&command->sink, "record", json_incref(record));
    json_decref(record);
    if (result == RECORD_LIST_ERROR && !command->failed) {
        command->failed = true;
        memcpy(command->error, error.text, sizeof command->error);
    }
    return result == RECORD_LIST_EMIT || result == RECORD_LIST_SKIP;
}

static void finish_list(struct command *command)
{
    json_t *record;
    if (command->failed) {
        put_error(&command->sink, command->error);
        return;
    }
    for (uint32_t i = 0; (record = record_list_sorted(&command->list, i)) != NULL; i++)
        put_line(&command->sink, "record", json_incref(record));
    put_end(command->context, &command->sink, command->list.matched, command->hidden);
}

/* The worker whose counters are asked for; SHM_WORKER_ANY: all together. False, with the reason told: there is none. */
static bool worker_wanted(struct command *command, const struct stats_reader *reader, uint32_t *worker)
{
    const json_t *wanted = json_object_get(command->request, "worker");
    const uint32_t count = reader ? stats_reader_workers(reader) : 0;
    *worker = SHM_WORKER_ANY;
    if (!wanted || !reader)
        return true;
    if (json_is_integer(wanted) && json_integer_value(wanted) >= 0 && json_integer_value(wanted) < count) {
        *worker = (uint32_t)json_integer_value(wanted);
        return true;
    }
    struct shm_error error;
    shm_error_set(&error, "there is no such worker; they are 0 to %u", count - 1);
    put_error(&command->sink, error.text);
    return false;
}

static void show_counters(struct command *command)
{
    struct stats_reader *reader = peer_statistics(command->context->peer);
    uint32_t worker;
    if (!worker_wanted(command, reader, &worker))
        return;
    if (reader) {
        stats_reader_refresh(reader);
        for (uint32_t i = 0; i < stats_reader_count(reader); i++)
            if (!offer(command, json_from_statistic(reader, stats_reader_entry(reader, i), worker)))
                break;
    }
    finish_list(command);
}

/* The stack's counters, each in its group. What never happened is told only to who asks for all. */
static void show_tcp(struct command *command)
{
    struct stats_reader *reader = peer_statistics(command->context->peer);
    const bool all = json_is_true(json_object_get(command->request, "all"));
    const size_t prefix = strlen(STATS_GROUP_NET);
    uint32_t worker;
    if (!worker_wanted(command, reader, &worker))
        return;
    if (reader)
        stats_reader_refresh(reader);
    for (uint32_t i = 0; reader && i < stats_reader_count(reader); i++) {
        const struct stats_entry *entry = stats_reader_entry(reader, i);
        if (strncmp(entry->group, STATS_GROUP_NET, prefix) != 0)
            continue;
        json_t *record = json_from_statistic(reader, entry, worker);
        json_object_set_new(record, "group", json_string(entry->group + prefix));
        if (!all && json_integer_value(json_object_get(record, "value")) == 0) {
            command->hidden += record_list_wants(&command->list, record);
            json_decref(record);
        } else if (!offer(command, record)) {
            break;
        }
    }
    finish_list(command);
}

/* The source is what answers "which value holds, and why": the line of the file, or that nobody set it. */
static bool offer_setting(struct command *command, const struct schema_section *section, uint32_t leaf, uint32_t index)
{
    const struct command_context *context = command->context;
    char path[SCHEMA_PATH_SIZE], value[1280], source[512];
    struct control_config *config = (struct control_config *)(uintptr_t)context->config;
    uint32_t line = context->origin->lines[section - schema_sections][index][leaf];
    if (section->list)
        snprintf(path, sizeof path, "%s[%u].%s", section->name, index, section->leaves[leaf].name);
    else
        snprintf(path, sizeof path, "%s.%s", section->name, section->leaves[leaf].name);
    snprintf(source, sizeof source, line ? "%s:%u" : "default", context->config_file, line);
    schema_format(section, &section->leaves[leaf], schema_base(section, config, index), value, sizeof value);
    return offer(command, json_pack("{s:s, s:s, s:s}", "path", path, "value", value, "source", source));
}

static void show_config(struct command *command)
{
    const struct shm_config *config = &command->context->config->dataplane;
    for (size_t i = 0; i < schema_section_count; i++) {
        const struct schema_section *section = &schema_sections[i];
        uint32_t entries = 1;
        if (section->list)
            entries = strcmp(section->name, "ports") == 0 ? config->port_count : config->listener_count;
        for (uint32_t index = 0; index < entries; index++)
            for (uint32_t leaf = 0; leaf < section->leaf_count; leaf++)
                if (!offer_setting(command, section, leaf, index))
                    goto out;
    }
out:
    finish_list(command);
}

static void show_version(struct command *command)
{
    uint64_t uptime = (loop_now() - command->context->started) / 1000000;
    offer(command, json_pack("{s:s, s:s, s:I, s:I, s:s}", "version", POLLUX_VERSION, "build", POLLUX_BUILD_ID, "pid",
                             (json_int_t)getpid(), "uptime-seconds", (json_int_t)uptime, "config-file",
                             command->context->config_file));
    finish_list(command);
}

static void show_users(struct command *command)
{
    struct users *users = command->context->users;
    struct shm_error error;
    if (users && users_refresh(users, &error) < 0) {
        put_error(&command->sink, error.text);
        return;
    }
    for (size_t i = 0; users && i < users_count(users); i++) {
        const struct user *user = users_at(users, i);
        json_t *name = json_from_bytes((const uint8_t *)user->name, strlen(user->name));
        if (!offer(command, json_pack("{s:o, s:s, s:I}", "name", name, "method", SCRAM_METHOD, "iterations",
                                      (json_int_t)user->secret.iterations)))
            break;
    }
    finish_list(command);
}

/* ---- users ------------------------------------------------------------------------------------------------------ */

static void run_user(struct command *command)
{
    const json_t *words = json_object_get(command->request, "args");
    const char *what = json_string_value(json_array_get(words, 0));
    const char *name = json_string_value(json_array_get(words, 1));
    const char *password = json_string_value(json_object_get(command->request, "password"));
    struct users *users = command->context->users;
    struct shm_error error;
    bool adds = what && strcmp(what, "add") == 0;
    int result = -1;
    if (!users)
        shm_error_set(&error, "there are no users: the configuration has no authentication.users-file");
    else if (!name || (!adds && (!what || strcmp(what, "delete") != 0)) || (adds && !password))
        shm_error_set(&error, "user add NAME with a password, or user delete NAME");
    else
        result = adds ? users_add(users, name, password, &error) : users_delete(users, name, &error);
    if (result != 0)
        put_error(&command->sink, error.text);
    else
        put_end(command->context, &command->sink, users_count(users), 0);
}

/* ---- lists from the dataplane ----------------------------------------------------------------------------------- */

static void command_free(struct command *command)
{
    record_list_close(&command->list);
    json_decref(command->request);
    free(command);
}

/* The command is freed before `done` is called: the connection may start its next one there. */
static void finish(struct command *command)
{
    struct command_sink sink = command->sink;
    finish_list(command);
    command_free(command);
    sink.done(sink.argument);
}

/* The first reason is the one that is told. */
static void fail(struct command *command, const char *text)
{
    if (!command->failed)
        snprintf(command->error, sizeof command->error, "%s", text);
    command->failed = true;
}

static void ask_for_page(struct command *command);

/* `show runtime` is asked to hear that the dataplane is down as well: also when that happens while it is asked. */
static bool status_answers(const struct command *command)
{
    struct peer_info info;
    peer_describe(command->context->peer, &info);
    return command->message.type == SHM_REQUEST_WORKERS && info.state != PEER_RUNNING;
}

/* What the dataplane said, and for a worker what its statistics add. */
static json_t *describe(const struct command *command, const struct shm_reply *reply)
{
    json_t *object = json_from_reply(reply);
    struct stats_reader *reader = peer_statistics(command->context->peer);
    if (object && reader && reply->type == SHM_REQUEST_WORKERS) {
        stats_reader_refresh(reader);
        json_add_timing(object, reader, reply->worker.worker);
    }
    return object;
}

/* Records that are not wanted any more are taken and dropped until the page ends: the dataplane has sent them already.
 */
static void reply_came(void *argument, const struct shm_reply *reply)
{
    struct command *command = argument;
    if (reply->status == SHM_REPLY_RECORD) {
        if (!command->complete && !command->failed && !offer(command, describe(command, reply)))
            command->complete = true;
        return;
    }
    command->pending = 0;
    if (reply->status == SHM_REPLY_ERROR && !status_answers(command))
        fail(command, reply->text);
    command->message.cursor = reply->status == SHM_REPLY_END ? reply->cursor : 0;
    if (command->failed || command->complete || command->message.cursor == 0)
        finish(command);
    else if (command->sink.full(command->sink.argument))
        command->waiting = true;
    else
        ask_for_page(command);
}

static void ask_for_page(struct command *command)
{
    struct peer_info info;
    struct shm_error error = {"the dataplane was restarted in the middle of the list"};
    peer_describe(command->context->peer, &info);
    if (info.seen == command->dataplane)
        command->pending = peer_request(command->context->peer, &command->message, reply_came, command, &error);
    if (command->pending)
        return;
    fail(command, error.text);
    finish(command);
}

void command_resume(struct command *command)
{
    if (!command->waiting)
        return;
    command->waiting = false;
    ask_for_page(command);
}

void command_cancel(struct command *command)
{
    if (command->capture)
        capture_cancel(command->capture);
    peer_cancel(command->context->peer, command->pending);
    command_free(command);
}

/* ---- taking requests -------------------------------------------------------------------------------------------- */

static void describe_down(const struct command_context *context, char *text, size_t size)
{
    struct peer_info info;
    char since[32];
    peer_describe(context->peer, &info);
    time_t at = (time_t)info.since;
    struct tm parts;
    strftime(since, sizeof since, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&at, &parts));
    const char *advice = info.state == PEER_DOWN ? "; start pollux-dataplane with the same --run-dir" : "";
    snprintf(text, size, "the dataplane is %s since %s (%s)%s", peer_state_name(info.state), since, info.text, advice);
}

/* Fill in what the dataplane can do about the filter itself: it may then skip most of a million clients. */
static void hint_prefix(struct shm_request *message, const json_t *filter)
{
    const char *pattern = json_string_value(json_object_get(filter, "id"));
    message->list.worker = SHM_WORKER_ANY;
    if (!pattern || message->type != SHM_REQUEST_CLIENTS)
        return;
    size_t length = strcspn(pattern, "*?[\\");
    length = length < SHM_CLIENT_ID_MAX ? length : SHM_CLIENT_ID_MAX;
    message->list.id_prefix_length = (uint32_t)length;
    memcpy(message->list.id_prefix, pattern, length);
}

/* A client id may begin with '#' too: only what reads as a number completely is a handle. */
static int fill_kick(struct shm_request *message, const char *who, struct shm_error *error)
{
    size_t length = who ? strlen(who) : 0;
    char *end = NULL;
    if (length == 0)
        return shm_error_set(error, "kick needs a client id, or #HANDLE as `show clients --json` prints it");
    if (who[0] == '#' && (message->kick.handle = strtoull(who + 1, &end, 0)) != 0 && *end == '\0')
        return 0;
    message->kick.handle = 0;
    if (length > SHM_KICK_ID_MAX)
        return shm_error_set(error,
                             "the client id is longer than %u bytes; kick it by its handle: #HANDLE as `show "
                             "clients --json` prints it",
                             SHM_KICK_ID_MAX);
    message->kick.id_length = (uint32_t)length;
    memcpy(message->kick.id, who, length);
    return 0;
}

#define DRAIN_RATE 1000 /* clients a second, unless said otherwise */

/* The ranges are checked where the request is: by shm_request_check. */
static int fill_drain(struct shm_request *message, json_t *request, struct shm_error *error)
{
    struct shm_drain_arguments *drain = &message->drain;
    const char *to = json_string_value(json_object_get(request, "to"));
    json_t *rate = json_object_get(request, "rate");
    if (json_is_true(json_object_get(request, "stop"))) {
        drain->action = SHM_DRAIN_STOP;
        return 0;
    }
    size_t length = to ? strlen(to) : 0;
    if (length == 0 || length > SHM_REFERENCE_MAX || (rate && !json_is_integer(rate)))
        return shm_error_set(error, "drain needs the other server: HOST or HOST:PORT, %u characters at most",
                             SHM_REFERENCE_MAX);
    json_int_t number = rate ? json_integer_value(rate) : DRAIN_RATE;
    drain->action = SHM_DRAIN_START;
    drain->permanent = json_is_true(json_object_get(request, "permanent"));
    drain->rate = number < 0 || number > UINT32_MAX ? 0 : (uint32_t)number;
    drain->reference_length = (uint32_t)length;
    memcpy(drain->reference, to, length);
    return 0;
}

/* ---- captures --------------------------------------------------------------------------------------------------- */

static void capture_piece(void *argument, json_t *record)
{
    const struct command *command = argument;
    put_line(&command->sink, "record", record);
}

static bool capture_is_held(void *argument)
{
    const struct command *command = argument;
    return command->sink.full(command->sink.argument);
}

/* The last piece is followed by how it went; figures come with an error too. */
static void capture_done(void *argument, json_t *summary, const char *error)
{
    struct command *command = argument;
    struct command_sink sink = command->sink;
    if (error) {
        json_decref(summary);
        put_error(&sink, error);
    } else {
        json_t *end = json_pack("{s:o, s:o}", "capture", summary, "dataplane", dataplane_object(command->context));
        put_line(&sink, "end", end);
    }
    command_free(command);
    sink.done(sink.argument);
}

/* Returns false when the reply is complete. */
static bool run_capture(struct command *command)
{
    struct captures *captures = command->context->captures;
    const struct capture_reader reader = {capture_piece, capture_is_held, capture_done, command};
    struct peer_info info;
    struct shm_error error;
    char text[SHM_ERROR_TEXT + LINK_TEXT_SIZE];
    if (json_is_true(json_object_get(command->request, "stop"))) {
        if (capture_stop(captures, &error) != 0)
            put_error(&command->sink, error.text);
        else
            put_end(command->context, &command->sink, 1, 0);
        return false;
    }
    peer_describe(command->context->peer, &info);
    if (info.state != PEER_RUNNING) {
        describe_down(command->context, text, sizeof text);
        put_error(&command->sink, text);
        return false;
    }
    command->capture = capture_start(captures, command->request, &reader, &error);
    if (!command->capture)
        put_error(&command->sink, error.text);
    return command->capture != NULL;
}

struct listing {
    const char *name;
    enum shm_request_type type; /* 0: control knows it itself */
    void (*show)(struct command *command);
};

static const struct listing listings[] = {
    {"runtime", SHM_REQUEST_WORKERS, NULL}, {"ports", SHM_REQUEST_PORTS, NULL},
    {"clients", SHM_REQUEST_CLIENTS, NULL}, {"connections", SHM_REQUEST_CONNECTIONS, NULL},
    {"census", SHM_REQUEST_CENSUS, NULL},   {"listeners", SHM_REQUEST_LISTENERS, NULL},
    {"counters", 0, show_counters},         {"config", 0, show_config},
    {"version", 0, show_version},           {"users", 0, show_users},
    {"drain", SHM_REQUEST_DRAIN, NULL},     {"tcp", 0, show_tcp},
};

static const struct listing *find_listing(const char *name)
{
    for (size_t i = 0; name && i < sizeof listings / sizeof listings[0]; i++)
        if (strcmp(listings[i].name, name) == 0)
            return &listings[i];
    return NULL;
}

/* Ask the dataplane, or say at once why that is not possible. Returns false when the reply is complete. */
static bool start_request(struct command *command, bool status_is_enough)
{
    struct peer_info info;
    char text[SHM_ERROR_TEXT + LINK_TEXT_SIZE];
    struct shm_error error;
    peer_describe(command->context->peer, &info);
    if (info.state != PEER_RUNNING && status_is_enough) {
        finish_list(command);
        return false;
    }
    if (info.state != PEER_RUNNING) {
        describe_down(command->context, text, sizeof text);
        put_error(&command->sink, text);
        return false;
    }
    command->dataplane = info.seen;
    command->pending = peer_request(command->context->peer, &command->message, reply_came, command, &error);
    if (!command->pending)
        put_error(&command->sink, error.text);
    return command->pending != 0;
}

/* A list may be empty: the fields of its records are known all the same. Those of a worker are more, but there is one.
 */
static int check_fields(const struct command *command, enum shm_request_type type, struct shm_error *error)
{
    const struct shm_reply reply = {.type = (uint16_t)type, .status = SHM_REPLY_RECORD};
    if (type == SHM_REQUEST_WORKERS)
        return 0;
    json_t *record = json_from_reply(&reply);
    const int result = record_list_check(&command->list, record, error);
    json_decref(record);
    return result;
}

/* Returns false when the reply is complete. */
static bool run(struct command *command, struct shm_error *error)
{
    const char *verb = json_string_value(json_object_get(command->request, "command"));
    const char *what = json_string_value(json_array_get(json_object_get(command->request, "args"), 0));
    if (verb && strcmp(verb, "kick") == 0) {
        command->message.type = SHM_REQUEST_KICK;
        if (fill_kick(&command->message, what, error) != 0)
            return put_error(&command->sink, error->text), false;
        return start_request(command, false);
    }
    if (verb && strcmp(verb, "drain") == 0) {
        command->message.type = SHM_REQUEST_DRAIN;
        if (fill_drain(&command->message, command->request, error) != 0)
            return put_error(&command->sink, error->text), false;
        return start_request(command, false);
    }
    if (verb && strcmp(verb, "capture") == 0)
        return run_capture(command);
    if (verb && strcmp(verb, "user") == 0)
        return run_user(command), false;
    const struct listing *listing = verb && strcmp(verb, "show") == 0 ? find_listing(what) : NULL;
    if (!listing) {
        put_error(&command->sink,
                  "unknown command; there are: show runtime|ports|clients|connections|census|listeners|"
                  "counters|tcp|config|version|users|drain, kick CLIENT, drain, capture, user add|delete NAME");
        return false;
    }
    if (listing->show)
        return listing->show(command), false;
    if (check_fields(command, listing->type, error) != 0)
        return put_error(&command->sink, error->text), false;
    command->message.type = (uint16_t)listing->type;
    if (listing->type == SHM_REQUEST_CLIENTS || listing->type == SHM_REQUEST_CONNECTIONS)
        hint_prefix(&command->message, command->list.filter);
    return start_request(command, listing->type == SHM_REQUEST_WORKERS);
}

struct command *command_start(const struct command_context *context, json_t *request, const struct command_sink *sink)
{
    struct shm_error error;
    struct command *command = calloc(1, sizeof *command);
    if (!command || !json_is_object(request)) {
        put_error(sink, command ? "a request is one JSON object on a line" : "no memory");
        free(command);
        return NULL;
    }
    command->context = context;
    command->sink = *sink;
    command->request = json_incref(request);
    command->message.limit = SHM_PAGE_MAX;
    if (record_list_open(&command->list, request, &error) != 0)
        put_error(sink, error.text);
    else if (run(command, &error))
        return command;
    command_free(command);
    return NULL;
}
