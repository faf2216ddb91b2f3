/*
 * What the mock cloud tells of itself. Under the caller's lock, as rules.h.
 */
#ifndef MOCK_FACTS_H
#define MOCK_FACTS_H

#include "rules.h"

void facts_quotas(const struct cloud *cloud, const struct backend_config *config,
                  struct page *page);
void facts_zones(const struct scene *scene, struct page *page);
void facts_hosts(const struct scene *scene, struct page *page);

/* ID is "SERVER/TYPE". Returns a status. */
int facts_console(struct scene *scene, const char *id, struct page *page);

#endif
