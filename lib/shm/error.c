/* Error texts: see shm/error.h. */
#include "lib/shm/error.h"

#include <stdarg.h>
#include <stdio.h>

int shm_error_set(struct shm_error *error, const char *format, ...)
{
    if (!error)
        return -1;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return -1;
}
