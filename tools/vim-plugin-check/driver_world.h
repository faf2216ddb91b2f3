/*
 * driver_world.h - samples from the check configuration, and the things they refer to.
 */
#ifndef DRIVER_WORLD_H
#define DRIVER_WORLD_H

#include <stdbool.h>
#include <stddef.h>

struct run;

#define WORLD_MAX 32

/* What was made so that samples can refer to it, in order of making. All zero at first. */
struct world {
    struct {
        const char *kind;
        char *id;
    } things[WORLD_MAX];
    size_t count;
};

bool sample_exists(const struct run *run, const char *section, const char *kind);

/* The sample of KIND in SECTION ("samples" or "updates") as JSON, with what it refers to made in
 * WORLD before. malloc'ed; NULL after check_fail(). */
char *sample_make(struct run *run, struct world *world, const char *section, const char *kind);

/* The COUNT-th action that the check configuration wants done to KIND, as JSON: its name under
 * "action", then its arguments; what they refer to is made in WORLD before. malloc'ed; NULL if there
 * are no so many, or after check_fail(). */
char *action_make(struct run *run, struct world *world, const char *kind, size_t count);

/* Makes one thing by the sample and waits until it has settled. Its id, malloc'ed; NULL after
 * check_fail(). */
char *world_create(struct run *run, struct world *world, const char *kind);

/* The same by SPEC, JSON. */
char *world_create_by(struct run *run, const char *kind, const char *spec);

/* Deletes a thing and waits until it is gone. False after check_fail(). */
bool world_delete(struct run *run, const char *kind, const char *id);

/* Deletes everything in WORLD, the last first. */
void world_clear(struct run *run, struct world *world);

/* May things of KIND be looked at (--kind, --without)? What others make meanwhile of other kinds is no concern. */
bool kind_is_wanted(const struct run *run, const char *kind);

/* "kind/id" of everything that is there, of all kinds that can be listed and are wanted; sorted. */
struct inventory {
    char **names;
    size_t count, room;
};

/* False after check_fail(). */
bool inventory_take(struct run *run, struct inventory *ret_inventory);
void inventory_clear(struct inventory *inventory);

/* How many of AFTER are not in BEFORE; the first of them is in RET_NAME. */
size_t inventory_added(const struct inventory *before, const struct inventory *after,
                       const char **ret_name);

/* Requires, within the time-out (what is being deleted may need some), that there is as much as
 * BEFORE: nothing more, nothing less. */
void require_as_before(struct run *run, const struct inventory *before, const char *when);

#endif
