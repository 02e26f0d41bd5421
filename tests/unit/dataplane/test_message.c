/* dataplane/message.h: what is kept, how often, and by whom. */
#include <string.h>

#include "dataplane/message.h"
#include "tests/unit/dataplane/support.h"

static struct publication sample(void)
{
    return (struct publication){
        .topic = MQTT_SPAN("a/b"),
        .properties = MQTT_SPAN("\x01\x01"),
        .payload = MQTT_SPAN("hello"),
        .expires = 77,
        .publisher = 5,
        .qos = 2,
        .retain = true,
    };
}

static bool span_is(struct mqtt_span span, const char *text)
{
    return span.length == strlen(text) && memcmp(span.data, text, span.length) == 0;
}

Test(message, is_made_once_and_shared)
{
    struct mem_region *memory = region_open();
    struct publication publication = sample();
    struct message *one = publication_keep(&publication, memory), *two = publication_keep(&publication, memory);
    cr_expect_eq(one, two);
    cr_expect_eq(one->references, 3, "two for the callers, one for the publication");
    cr_expect(span_is(message_topic(one), "a/b"));
    cr_expect(span_is(message_payload(one), "hello"));
    cr_expect_eq(message_length(one), 10);
    cr_expect(one->qos == 2 && one->retain && one->expires == 77 && one->publisher == 5);
    publication_release(&publication, memory);
    message_release(one, memory);
    cr_expect_eq(region_objects(memory), 1);
    message_release(two, memory);
    cr_expect_eq(region_objects(memory), 0);
}

Test(message, a_publication_that_nobody_kept_costs_nothing)
{
    struct mem_region *memory = region_open();
    struct publication publication = sample();
    publication_release(&publication, memory);
    cr_expect_eq(region_objects(memory), 0);
}

Test(message, an_empty_payload)
{
    struct mem_region *memory = region_open();
    struct publication publication = {.topic = MQTT_SPAN("t")};
    struct message *message = publication_keep(&publication, memory);
    cr_expect_eq(message_payload(message).length, 0);
    publication_release(&publication, memory);
    message_release(message, memory);
    cr_expect_eq(region_objects(memory), 0);
}

Test(message, an_own_message_is_kept_by_reference)
{
    struct mem_region *memory = region_open();
    struct publication first = sample(), again;
    struct message *message = publication_keep(&first, memory);
    publication_release(&first, memory);
    publication_from_message(&again, message, true);
    cr_expect_eq(publication_keep(&again, memory), message);
    publication_release(&again, memory);
    cr_expect_eq(message->references, 2);
    message_release(message, memory);
    message_release(message, memory);
    cr_expect_eq(region_objects(memory), 0);
}

/* What another worker made is read only, and copied to be kept. */
Test(message, a_foreign_message_is_copied)
{
    struct mem_region *theirs = region_open(), *ours = region_open();
    struct publication first = sample(), here;
    struct message *message = publication_keep(&first, theirs);
    publication_release(&first, theirs);
    publication_from_message(&here, message, false);
    struct message *copy = publication_keep(&here, ours);
    cr_expect_neq(copy, message);
    cr_expect(mem_contains(ours, copy));
    cr_expect_eq(message->references, 1, "not touched");
    cr_expect(span_is(message_topic(copy), "a/b") && span_is(message_payload(copy), "hello"));
    cr_expect(copy->qos == 2 && copy->retain && copy->expires == 77 && copy->publisher == 5);
    publication_release(&here, ours);
    message_release(copy, ours);
    message_release(message, theirs);
    cr_expect_eq(region_objects(theirs) + region_objects(ours), 0);
}
