/*
 * allocations.h - counting what the calling thread allocates between two points, whoever asks for it:
 * the plugin, or a library that it uses.
 */
#ifndef ALLOCATIONS_H
#define ALLOCATIONS_H

/* Begins to count, from 0. */
void allocations_watch(void);

/* Ends it; how many times memory was asked for. */
unsigned allocations_watched(void);

#endif
