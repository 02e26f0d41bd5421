/* A dataplane that routes nothing: control's counterpart in tests.
 *
 * Job: the dataplane's end of the link with canned records, in a process of its own so that tests can kill it. It takes
 * any valid configuration, publishes a few statistics and answers each request by the page protocol of shm/messages.h.
 *
 * Who calls: tests, from one thread each. */
#ifndef POLLUX_TESTS_FAKE_DATAPLANE_H
#define POLLUX_TESTS_FAKE_DATAPLANE_H

#include <stdint.h>
#include <sys/types.h>

struct fake_options {
    uint32_t clients;    /* how many sessions it claims to have: ids dev-00000... */
    uint32_t workers;    /* 0: as configured */
    const char *fail;    /* answer CONFIGURE with FAILED and this text */
    int mute;            /* take requests and never answer */
    int corrupt_reply;   /* answer the first request with a record that can not be */
    int corrupt_index;   /* publish an impossible index in the reply ring */
    int corrupt_capture; /* write captured packets that can not be */
    int wrong_layout;    /* send a HELLO of another layout version */
};

/* Run in this process until killed or until `stop_fd` (if not -1) becomes readable. Returns the exit status. */
int fake_dataplane_run(const char *run_dir, const struct fake_options *options, int stop_fd);

/* The same in a child; returns its pid once its socket listens. -1 when it can not start. */
pid_t fake_dataplane_start(const char *run_dir, const struct fake_options *options);

#endif
