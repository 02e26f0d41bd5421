/*
 * Topic names and topic filters: their form (MQTT 5.0 section 4.7 and 4.8). Any thread; reads exactly the given bytes.
 * Matching is lib/topic's.
 */
#ifndef LIB_MQTT_TOPIC_NAME_H
#define LIB_MQTT_TOPIC_NAME_H

#include "lib/mqtt/mqtt.h"

/*
 * Checks a topic name: well-formed UTF-8 without U+0000, at least one character, no wildcard.
 * Returns MQTT_OK, an MQTT_ERROR_UTF8_*, MQTT_ERROR_TOPIC_EMPTY or MQTT_ERROR_TOPIC_WILDCARD.
 */
enum mqtt_error mqtt_topic_name_check(struct mqtt_span name);

/*
 * Checks a topic filter: well-formed UTF-8 without U+0000, at least one character, `+` only as a whole level, `#` only
 * as the whole last level. A filter that begins with `$share/` is checked as a plain filter here.
 * Returns MQTT_OK, an MQTT_ERROR_UTF8_* or an MQTT_ERROR_FILTER_*.
 */
enum mqtt_error mqtt_topic_filter_check(struct mqtt_span filter);

/*
 * Splits `$share/<group>/<filter>` (section 4.8.2). For a plain filter `group` comes out empty and `rest` is the
 * filter itself. Checks the form of the group and that a filter follows; the filter's own form is
 * mqtt_topic_filter_check's.
 * Returns MQTT_OK, MQTT_ERROR_SHARE_NAME_INVALID or MQTT_ERROR_SHARE_FILTER_MISSING.
 */
enum mqtt_error mqtt_topic_share_split(struct mqtt_span filter, struct mqtt_span *group, struct mqtt_span *rest);

/* Number of levels: separators plus one. "a/b" and "/a" have 2. */
uint32_t mqtt_topic_levels(struct mqtt_span topic);

/* Whether a filter (without `$share/<group>/`) has a wildcard. `+` and `#` appear in a checked filter only as such. */
bool mqtt_topic_has_wildcard(struct mqtt_span filter);

#endif
