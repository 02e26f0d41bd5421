/*
 * UTF-8 as MQTT wants it (MQTT 5.0 section 1.5.4). Any thread; reads exactly the given bytes.
 */
#ifndef LIB_MQTT_UTF8_H
#define LIB_MQTT_UTF8_H

#include "lib/mqtt/mqtt.h"

/*
 * Checks that `text` is well-formed UTF-8 as Unicode and RFC 3629 define it (shortest form, at most U+10FFFF), and
 * has neither U+0000 nor a surrogate. Eight bytes at a time while it is ASCII.
 *
 * Returns MQTT_OK, MQTT_ERROR_UTF8_INVALID, MQTT_ERROR_UTF8_SURROGATE or MQTT_ERROR_UTF8_NUL.
 */
enum mqtt_error mqtt_utf8_check(struct mqtt_span text);

/*
 * Whether well-formed `text` contains a code point that section 1.5.4 advises against: a control character (U+0001 to
 * U+001F, U+007F to U+009F) or a non-character (U+FDD0 to U+FDEF, U+nFFFE, U+nFFFF). Receivers may refuse those; the
 * codec accepts them.
 */
bool mqtt_utf8_is_discouraged(struct mqtt_span text);

#endif
