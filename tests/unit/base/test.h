/* What every unit test needs before cmocka.h. */
#ifndef UNIT_TEST_H
#define UNIT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#undef fail /* also the name of a function that plugins call */

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
