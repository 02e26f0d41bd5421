#include "tests/sim/script.h"

const struct script_case window_scripts[] = {
    {NULL, NULL},
};
