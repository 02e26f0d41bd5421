/* The fake dataplane as a program, for looking at polluxctl by hand: fake-dataplane RUN-DIR [CLIENTS]. */
#include <stdlib.h>

#include "tests/unit/control/fake_dataplane.h"

int main(int argc, char **argv)
{
    struct fake_options options = {.clients = argc > 2 ? (uint32_t)atoi(argv[2]) : 10};
    if (argc < 2)
        return 2;
    return fake_dataplane_run(argv[1], &options, -1);
}
