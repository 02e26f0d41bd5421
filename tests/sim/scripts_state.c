#include "tests/sim/script.h"

const struct script_case state_scripts[] = {
    {NULL, NULL},
};
