/* What a capture's filter sees of a frame. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/addresses.h"
#include "dataplane/frame.h"
#include "tests/unit/dataplane/support.h"

TestSuite(frame, .timeout = 10);

#define MACS "\1\1\1\1\1\1\2\2\2\2\2\2"
#define IP4(protocol) "\x45\0\0\x28\0\0\0\0\x40" protocol "\0\0\xc6\x12\0\2\xc6\x12\0\1"
#define TCP "\x9c\x40\x07\x5b\0\0\0\1\0\0\0\1\x50\x10\0\0\0\0\0\0"
#define IP6(next) \
    "\x60\0\0\0\0\x14" next "\x40\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"

#define FRAME(name, text) static const uint8_t name[] = text
FRAME(tcp4, MACS "\x08\0" IP4("\6") TCP "hello");
FRAME(tcp4_tagged, MACS "\x81\0\0\5\x08\0" IP4("\6") TCP);
FRAME(tcp4_fragment, MACS "\x08\0\x45\0\0\x28\0\0\0\1\x40\6\0\0\xc6\x12\0\2\xc6\x12\0\1" TCP);
FRAME(icmp4, MACS "\x08\0" IP4("\1") "\x08\0\0\0\0\0\0\0");
FRAME(tcp6, MACS "\x86\xdd" IP6("\6") TCP);
FRAME(tcp6_extended, MACS "\x86\xdd" IP6("\0") "\x3c\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0" TCP);
FRAME(tcp6_fragment, MACS "\x86\xdd" IP6("\x2c") "\6\0\0\x08\0\0\0\0" TCP);
FRAME(arp, MACS "\x08\6\0\1\x08\0\6\4\0\1\2\2\2\2\2\2\xc6\x12\0\2\0\0\0\0\0\0\xc6\x12\0\1");
FRAME(other, MACS "\x88\xcc\1\2\3\4");

#define SIZED(bytes) bytes, sizeof(bytes) - 1

static struct frame seen;
static struct shm_capture_arguments filter;

static bool passes(const uint8_t *bytes, uint32_t length)
{
    frame_read(&seen, bytes, length);
    return frame_matches(&seen, SHM_CAPTURE_IN, &filter);
}

static void filter_set(uint32_t direction, uint32_t port, uint8_t family, const char *address, uint8_t prefix)
{
    filter = (struct shm_capture_arguments){.action = SHM_CAPTURE_START, .direction = direction, .port = port};
    filter.address.family = family;
    filter.address.prefix = prefix;
    memcpy(filter.address.bytes, address, family == 4 ? 4 : family == 6 ? 16 : 0);
}

Test(frame, everything_passes_an_empty_filter)
{
    filter_set(SHM_CAPTURE_BOTH, 0, 0, "", 0);
    cr_expect(passes(SIZED(tcp4)) && seen.tcp && seen.ports && seen.source_port == 40000 && seen.target_port == 1883);
    cr_expect_eq(seen.payload, sizeof(tcp4) - 1 - 5);
    cr_expect(passes(SIZED(tcp4_tagged)) && seen.target_port == 1883);
    cr_expect(passes(SIZED(tcp6)) && seen.target_port == 1883);
    cr_expect(passes(SIZED(tcp6_extended)) && seen.target_port == 1883);
    cr_expect(passes(SIZED(icmp4)) && passes(SIZED(arp)) && passes(SIZED(other)));
    cr_expect(!seen.addressed && !seen.ports && !seen.tcp);
}

Test(frame, by_direction)
{
    filter_set(SHM_CAPTURE_OUT, 0, 0, "", 0);
    cr_expect(!passes(SIZED(tcp4)));
    filter_set(SHM_CAPTURE_IN, 0, 0, "", 0);
    cr_expect(passes(SIZED(tcp4)));
    cr_expect(!frame_matches(&seen, SHM_CAPTURE_OUT, &filter));
}

Test(frame, by_port)
{
    filter_set(SHM_CAPTURE_BOTH, 1883, 0, "", 0);
    cr_expect(passes(SIZED(tcp4)) && passes(SIZED(tcp4_tagged)) && passes(SIZED(tcp6)) && passes(SIZED(tcp6_extended)));
    cr_expect(!passes(SIZED(tcp4_fragment)) && !passes(SIZED(tcp6_fragment)), "what stands there is no port");
    cr_expect(!passes(SIZED(icmp4)) && !passes(SIZED(arp)) && !passes(SIZED(other)));
    filter_set(SHM_CAPTURE_BOTH, 40000, 0, "", 0);
    cr_expect(passes(SIZED(tcp4)), "at either end");
    filter_set(SHM_CAPTURE_BOTH, 1884, 0, "", 0);
    cr_expect(!passes(SIZED(tcp4)));
}

Test(frame, by_address)
{
    filter_set(SHM_CAPTURE_BOTH, 0, 4, "\xc6\x12\0\2", 32);
    cr_expect(passes(SIZED(tcp4)) && passes(SIZED(tcp4_fragment)) && passes(SIZED(icmp4)) && passes(SIZED(arp)));
    cr_expect(!passes(SIZED(tcp6)) && !passes(SIZED(other)));
    filter_set(SHM_CAPTURE_BOTH, 0, 4, "\xc6\x12\0\3", 32);
    cr_expect(!passes(SIZED(tcp4)) && !passes(SIZED(arp)));
    filter_set(SHM_CAPTURE_BOTH, 0, 4, "\xc6\x12\0\3", 31);
    cr_expect(passes(SIZED(tcp4)));
    filter_set(SHM_CAPTURE_BOTH, 0, 4, "\0\0\0\0", 0);
    cr_expect(passes(SIZED(tcp4)) && !passes(SIZED(tcp6)), "never across families");
    filter_set(SHM_CAPTURE_BOTH, 0, 6, "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\0", 32);
    cr_expect(passes(SIZED(tcp6)) && !passes(SIZED(tcp4)));
    filter_set(SHM_CAPTURE_BOTH, 1883, 4, "\xc6\x12\0\2", 32);
    cr_expect(passes(SIZED(tcp4)) && !passes(SIZED(icmp4)), "all of them together");
}

/* Exactly as much memory as there are bytes, so that a sanitizer sees what reads beyond. */
static void look_at(const uint8_t *bytes, uint32_t length)
{
    uint8_t *copy = malloc(length + 1);
    memcpy(copy, bytes, length);
    copy = realloc(copy, length > 0 ? length : 1);
    passes(copy, length);
    cr_assert(!seen.tcp || seen.ports);
    free(copy);
}

Test(frame, cut_and_spoilt_frames_are_looked_at_safely)
{
    static const struct {
        const uint8_t *bytes;
        uint32_t length;
    } frames[] = {{SIZED(tcp4)},          {SIZED(tcp4_tagged)},   {SIZED(tcp6)},
                  {SIZED(tcp6_extended)}, {SIZED(tcp6_fragment)}, {SIZED(arp)}};
    uint64_t random = 1;
    uint8_t spoilt[256];
    filter_set(SHM_CAPTURE_BOTH, 1883, 4, "\xc6\x12\0\2", 32);
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        for (uint32_t length = 0; length <= frames[i].length; length++) {
            look_at(frames[i].bytes, length);
        }
        for (int n = 0; n < 20000; n++) {
            memcpy(spoilt, frames[i].bytes, frames[i].length);
            for (int k = 0; k < 3; k++) {
                spoilt[12 + next_random(&random) % (frames[i].length - 12)] = (uint8_t)next_random(&random);
            }
            look_at(spoilt, frames[i].length);
        }
    }
}
