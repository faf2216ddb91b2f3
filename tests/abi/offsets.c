/* Prints where each field of the plugin interface lies: struct, field, offset, size; and each
 * struct's size. fields.inc is made from the headers by offsets.py. */
#include <vim/driver.h>
#include <vim/policy.h>
#include <vim/queue.h>
#include <vim/store.h>

#include <stdio.h>

#define FIELD(type, field)                                                 \
    printf("%s %s %zu %zu\n", #type, #field, offsetof(struct type, field), \
           sizeof(((struct type *)0)->field));
#define SIZE(type) printf("%s %zu\n", #type, sizeof(struct type));

int main(void)
{
    puts(
        "# Fields of the plugin interface, version 1, on 64-bit Linux: struct, field, offset, size;");
    puts(
        "# and the size of each struct. Made by the target abi-record. Lines are only ever added.");
#include "fields.inc"
    return 0;
}
