/* The form of topic names and topic filters, sections 4.7 and 4.8. */
#include <string.h>

#include "lib/mqtt/topic_name.h"
#include "lib/mqtt/utf8.h"

static const uint8_t *find(struct mqtt_span text, uint8_t byte)
{
    return text.length == 0 ? NULL : memchr(text.data, byte, text.length);
}

bool mqtt_topic_has_wildcard(struct mqtt_span filter)
{
    return find(filter, '+') != NULL || find(filter, '#') != NULL;
}

/* REQ MQTT-5 [MQTT-3.3.2-2]: the topic name of a PUBLISH has no wildcard [test: topics/names] */
/* REQ MQTT-5 [MQTT-4.7.0-1]: wildcards are not used within a topic name [test: topics/names] */
/* REQ MQTT-5 [MQTT-4.7.3-1]: topic names are at least one character long [test: topics/names] */
/* REQ MQTT-3.1.1 [MQTT-3.3.2-2]: the topic name of a PUBLISH has no wildcard [test: topics/names] */
/* REQ MQTT-3.1.1 [MQTT-4.7.1-1]: wildcards are not used within a topic name [test: topics/names] */
/* REQ MQTT-3.1.1 [MQTT-4.7.3-1]: topic names are at least one character long [test: topics/names] */
/* REQ MQTT-3.1.1 [MQTT-4.7.3-2]: strings with U+0000 do not get here [test: primitives/utf8] */
enum mqtt_error mqtt_topic_name_check(struct mqtt_span name)
{
    if (name.length == 0)
        return MQTT_ERROR_TOPIC_EMPTY;
    enum mqtt_error error = mqtt_utf8_check(name);
    if (error != MQTT_OK)
        return error;
    return mqtt_topic_has_wildcard(name) ? MQTT_ERROR_TOPIC_WILDCARD : MQTT_OK;
}

/* Whether the byte at `at` makes up a whole level. */
static bool is_whole_level(struct mqtt_span filter, uint32_t at)
{
    return (at == 0 || filter.data[at - 1] == '/') && (at + 1 == filter.length || filter.data[at + 1] == '/');
}

/* REQ MQTT-5 [MQTT-4.7.1-1]: # is the whole last level [test: topics/filters] */
/* REQ MQTT-5 [MQTT-4.7.1-2]: + is a whole level [test: topics/filters] */
/* REQ MQTT-3.1.1 [MQTT-4.7.1-2]: # is the whole last level [test: topics/filters] */
/* REQ MQTT-3.1.1 [MQTT-4.7.1-3]: + is a whole level [test: topics/filters] */
enum mqtt_error mqtt_topic_filter_check(struct mqtt_span filter)
{
    if (filter.length == 0)
        return MQTT_ERROR_FILTER_EMPTY;
    enum mqtt_error error = mqtt_utf8_check(filter);
    if (error != MQTT_OK)
        return error;
    for (uint32_t at = 0; at < filter.length; at++) {
        if (filter.data[at] == '#' && !(is_whole_level(filter, at) && at + 1 == filter.length))
            return MQTT_ERROR_FILTER_MULTI_LEVEL;
        if (filter.data[at] == '+' && !is_whole_level(filter, at))
            return MQTT_ERROR_FILTER_SINGLE_LEVEL;
    }
    return MQTT_OK;
}

/* REQ MQTT-5 [MQTT-4.8.2-1]: a shared filter starts with $share/ and a share name [test: topics/shares] */
/* REQ MQTT-5 [MQTT-4.8.2-2]: a share name has no wildcard; a filter follows it [test: topics/shares] */
enum mqtt_error mqtt_topic_share_split(struct mqtt_span filter, struct mqtt_span *group, struct mqtt_span *rest)
{
    static const char prefix[] = "$share/";
    const uint32_t skip = sizeof(prefix) - 1;
    *group = (struct mqtt_span){NULL, 0};
    *rest = filter;
    if (filter.length < skip || memcmp(filter.data, prefix, skip) != 0)
        return MQTT_OK;

    struct mqtt_span tail = {filter.data + skip, filter.length - skip};
    const uint8_t *slash = find(tail, '/');
    struct mqtt_span name = {tail.data, slash != NULL ? (uint32_t)(slash - tail.data) : tail.length};
    if (name.length == 0 || mqtt_topic_has_wildcard(name))
        return MQTT_ERROR_SHARE_NAME_INVALID;
    if (name.length + 1 >= tail.length)
        return MQTT_ERROR_SHARE_FILTER_MISSING;
    *group = name;
    *rest = (struct mqtt_span){slash + 1, tail.length - name.length - 1};
    return MQTT_OK;
}

uint32_t mqtt_topic_levels(struct mqtt_span topic)
{
    uint32_t levels = 1;
    for (uint32_t at = 0; at < topic.length; at++)
        levels += topic.data[at] == '/';
    return levels;
}
