/*
 * Packets as readable text, for tables of tests.
 *
 *     30 ( {'a/b'} 'hello' )      PUBLISH of "hello" to a/b
 *
 * Hexadecimal digits are bytes, 'text' its characters, { } a block with its length before it in two bytes, ( ) a block
 * with its length before it as a variable byte integer, [n byte] n times that byte, both hexadecimal. Spaces do not
 * count.
 */
#ifndef TESTS_UNIT_MQTT_NOTATION_H
#define TESTS_UNIT_MQTT_NOTATION_H

#include <stddef.h>
#include <stdint.h>

#define NOTATION_MAX 300000

/* Writes at most NOTATION_MAX bytes to `dst`, returns how many. Ends the program at text that has no meaning. */
size_t notation_parse(const char *text, uint8_t *dst);

/*
 * The last `n` bytes before a page that cannot be touched: whoever reads beyond them ends the program, with sanitizers
 * and without. One place for all: the next call overwrites it.
 */
uint8_t *notation_guarded(const uint8_t *bytes, size_t n);

#endif
