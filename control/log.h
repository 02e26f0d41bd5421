/* Log lines of pollux-control, to stderr: "2026-01-31T12:00:00.000Z pollux-control: ...".
 *
 * Main thread only. journald or the shell that started the program keeps them. */
#ifndef POLLUX_CONTROL_LOG_H
#define POLLUX_CONTROL_LOG_H

void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
