#include "tests/sim/script.h"

const struct script_case network_scripts[] = {
    {NULL, NULL},
};
