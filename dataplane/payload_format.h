/*
 * The payload format indicator (MQTT 5.0 section 3.3.2.3.2): is a payload the text that it says to be? Any thread.
 */
#ifndef POLLUX_DATAPLANE_PAYLOAD_FORMAT_H
#define POLLUX_DATAPLANE_PAYLOAD_FORMAT_H

#include <stdbool.h>
#include <string.h>

#include "lib/mqtt/properties.h"
#include "lib/mqtt/utf8.h"

/* Text of a payload may contain U+0000, which strings of MQTT may not: what is between them is checked. */
static inline bool payload_is_text(struct mqtt_span payload)
{
    while (payload.length > 0) {
        const uint8_t *nul = memchr(payload.data, 0, payload.length);
        const uint32_t length = nul == NULL ? payload.length : (uint32_t)(nul - payload.data);
        if (mqtt_utf8_check((struct mqtt_span){payload.data, length}) != MQTT_OK) {
            return false;
        }
        const uint32_t skip = nul == NULL ? length : length + 1;
        payload = (struct mqtt_span){payload.data + skip, payload.length - skip};
    }
    return true;
}

static inline bool payload_format_is_kept(const struct mqtt_properties *properties, struct mqtt_span payload)
{
    return !mqtt_property_is_present(properties, MQTT_PROPERTY_PAYLOAD_FORMAT_INDICATOR) ||
           properties->payload_format_indicator == 0 || payload_is_text(payload);
}

#endif
