/*
 * plugin/normalise.h - private to plugin/: copies of shared structs in this host's own layout.
 */
#ifndef PLUGIN_NORMALISE_H
#define PLUGIN_NORMALISE_H

#include "plugin/loader.h"

/* Sizes that version 1.0 of the interface had: what is smaller is broken. */
#define PLUGIN_SIZE_MIN sizeof(struct vim_plugin)
#define OPTION_SIZE_MIN sizeof(struct vim_option)
#define TRAIT_SIZE_MIN sizeof(struct vim_trait)
#define DRIVER_SIZE_MIN sizeof(struct vim_driver_ops)
#define STORE_SIZE_MIN sizeof(struct vim_store_ops)
#define QUEUE_SIZE_MIN sizeof(struct vim_queue_ops)
#define POLICY_SIZE_MIN sizeof(struct vim_policy_ops)

/* Copies min(both sizes) of a struct that begins with its size; the rest is zero. */
void normalise_struct(void *to, size_t to_size, const void *from);

/* Copies COUNT elements, STRIDE bytes apart, into a malloc'ed array of elements of SIZE bytes; NULL
 * for none. */
void *normalise_array(const void *from, size_t count, size_t stride, size_t size);

/* The options of a descriptor as a table that owns a copy of them. */
struct config_table normalise_table(const struct vim_plugin *descriptor);

#endif
