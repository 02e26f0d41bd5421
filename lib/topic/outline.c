/* Counting what the filters of an index name, and how deep they go: see outline.h. */
#include "lib/topic/outline.h"

static topic_outline outline_count(const struct topic_outlines *outlines, unsigned stripe)
{
    topic_outline named = 0, depth = TOPIC_OUTLINE_ALL;
    for (uint32_t level = 0; level < TOPIC_OUTLINE_LEVELS; level++) {
        named |= (topic_outline)(outlines->named[stripe][level] > 0) << level;
    }
    while (depth > 0 && outlines->deep[stripe][depth] == 0) {
        depth--;
    }
    return named | depth << TOPIC_OUTLINE_LEVELS;
}

static void outline_publish(struct topic_outlines *outlines, unsigned stripe)
{
    atomic_store_explicit(&outlines->of[stripe], outline_count(outlines, stripe), memory_order_release);
}

/* From nothing to something, or back? Then the outline is another. */
static void counter_change(uint32_t *counter, uint32_t by, bool *changed)
{
    *changed |= *counter == 0 || *counter + by == 0;
    *counter += by;
}

/* Counts the filter's levels `by` more, 1 or -1. */
static void outline_change(struct topic_outlines *outlines, const struct topic_seed *seed,
                           const struct topic_filter_name *filter, uint32_t by)
{
    const unsigned stripe = topic_filter_stripe(seed, filter);
    const char *at = filter->filter, *end = at + filter->filter_length;
    uint32_t level = 0;
    bool changed = false;
    for (;; level++) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        const size_t size = (size_t)((slash != NULL ? slash : end) - at);
        if (size == 1 && *at == '#') {
            break;
        }
        if (level < TOPIC_OUTLINE_LEVELS && !(size == 1 && *at == '+')) {
            counter_change(&outlines->named[stripe][level], by, &changed);
        }
        if (slash == NULL) {
            level++;
            break;
        }
        at = slash + 1;
    }
    counter_change(&outlines->deep[stripe][level < TOPIC_OUTLINE_ALL ? level : TOPIC_OUTLINE_ALL], by, &changed);
    if (changed) {
        outline_publish(outlines, stripe);
    }
}

void topic_outlines_add(struct topic_outlines *outlines, const struct topic_seed *seed,
                        const struct topic_filter_name *filter)
{
    outline_change(outlines, seed, filter, 1);
}

void topic_outlines_remove(struct topic_outlines *outlines, const struct topic_seed *seed,
                           const struct topic_filter_name *filter)
{
    outline_change(outlines, seed, filter, UINT32_MAX);
}
