/*
 * The SELECT of a scan. Its text depends on the shape of the scan alone, so that it is prepared once
 * on a connection. Each shape can be answered by walking one index from where the page begins.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "postgres_store.h"

#define SQL_MAX 2400

/* A scan over up to this many states merges as many walks of the index; over more it filters. */
#define MERGED_STATES_MAX 4

/* Everything in which the SQL of one scan differs from that of another. */
struct scan_shape {
    bool parent, orphan; /* of one parent; of the empty one, which is not in the index */
    bool after, filter, descending, by_due, no_body;
    unsigned merged; /* 0..MERGED_STATES_MAX; 0: no use of the index by state */
};

/* Numbers of the parameters. */
enum { P_COLLECTION, P_PARENT, P_AFTER, P_STATES, P_DUE, P_LIMIT, P_MERGED };

#define OID_TEXT 25
#define OID_BIGINT 20

static struct scan_shape shape_of(const struct vim_scan *scan)
{
    struct scan_shape shape = {
        .parent = scan->parent && scan->parent[0],
        .orphan = scan->parent && !scan->parent[0],
        .after = scan->after,
        .descending = scan->flags & VIM_SCAN_DESCENDING,
        .by_due = scan->flags & VIM_SCAN_BY_DUE,
        .no_body = scan->flags & VIM_SCAN_NO_BODY,
    };
    unsigned states = (unsigned)__builtin_popcount(scan->states);

    if (states && states <= MERGED_STATES_MAX && !scan->parent && !shape.by_due)
        shape.merged = states;
    else
        shape.filter = states && states < 32;
    return shape;
}

unsigned scan_shape_number(const struct vim_scan *scan)
{
    struct scan_shape shape = shape_of(scan);
    unsigned flags =
        (unsigned)(shape.parent | shape.after << 1 | shape.filter << 2 | shape.descending << 3 |
                   shape.by_due << 4 | shape.no_body << 5 | shape.orphan << 6);

    return flags + 128 * shape.merged;
}

/* One SELECT, over one state (a number of a parameter) or over all (0), in order and limited. CONDITION is asked
 * before any row is. */
static size_t write_select(char *sql, size_t size, const char *schema,
                           const struct scan_shape *shape, const char *condition,
                           unsigned state_parameter)
{
    char state[32] = "";

    if (state_parameter)
        snprintf(state, sizeof state, " AND state=$%u", state_parameter);
    return (size_t)snprintf(
        sql, size,
        "SELECT id,parent,state,due,revision%s FROM %s.rows WHERE collection=$1%s%s%s%s%s%s"
        " ORDER BY %s LIMIT $6",
        shape->no_body ? "" : ",body", schema, condition,
        shape->parent   ? " AND parent=$2 AND parent>''"
        : shape->orphan ? " AND parent=''"
                        : "",
        !shape->after       ? ""
        : shape->descending ? " AND id<$3"
                            : " AND id>$3",
        shape->filter ? " AND ($4>>state)&1=1" : "", shape->by_due ? " AND due>0 AND due<=$5" : "",
        state,
        shape->by_due       ? "due,id"
        : shape->descending ? "id DESC"
                            : "id");
}

static char *make_sql(const char *schema, const struct scan_shape *shape, const char *condition)
{
    char *sql = malloc(SQL_MAX);
    size_t length = 0;

    if (!sql)
        return NULL;
    if (shape->merged < 2) {
        write_select(sql, SQL_MAX, schema, shape, condition, shape->merged ? P_MERGED + 1 : 0);
        return sql;
    }
    for (unsigned i = 0; i < shape->merged; i++) {
        length += (size_t)snprintf(sql + length, SQL_MAX - length, "%s(", i ? " UNION ALL " : "");
        length += write_select(sql + length, SQL_MAX - length, schema, shape, condition,
                               P_MERGED + 1 + i);
        length += (size_t)snprintf(sql + length, SQL_MAX - length, ")");
    }
    snprintf(sql + length, SQL_MAX - length, " ORDER BY id%s LIMIT $6",
             shape->descending ? " DESC" : "");
    return sql;
}

const char *scan_sql(struct postgres_store *store, const struct vim_scan *scan, bool replica)
{
    struct scan_shape shape = shape_of(scan);
    char **sql = &store->sql[replica][scan_shape_number(scan)];

    pthread_mutex_lock(&store->sql_lock);
    if (!*sql)
        *sql = make_sql(store->config->schema, &shape, replica ? REPLICA_CONDITION : "");
    pthread_mutex_unlock(&store->sql_lock);
    return *sql;
}

void scan_sql_clear(struct postgres_store *store)
{
    for (unsigned i = 0; i < SCAN_SHAPES; i++) {
        free(store->sql[false][i]);
        free(store->sql[true][i]);
    }
}

static void bind_number(struct scan_parameters *parameters, int at, uint64_t number)
{
    number_write(parameters->numbers[at], number);
    parameters->values[at] = (const char *)parameters->numbers[at];
    parameters->lengths[at] = 8;
    parameters->formats[at] = 1;
    parameters->types[at] = OID_BIGINT;
}

/* All are given, whether the shape has a use for them or not. */
void scan_bind(const struct vim_scan *scan, struct scan_parameters *ret_parameters)
{
    struct scan_shape shape = shape_of(scan);
    int next = P_MERGED;

    memset(ret_parameters, 0, sizeof *ret_parameters);
    for (int i = P_COLLECTION; i <= P_AFTER; i++)
        ret_parameters->types[i] = OID_TEXT;
    ret_parameters->values[P_COLLECTION] = scan->collection;
    ret_parameters->values[P_PARENT] = scan->parent;
    ret_parameters->values[P_AFTER] = scan->after;
    bind_number(ret_parameters, P_STATES, scan->states);
    bind_number(ret_parameters, P_DUE, (uint64_t)scan->due_until);
    bind_number(ret_parameters, P_LIMIT, scan->limit);
    if (scan->limit == 0)
        ret_parameters->values[P_LIMIT] = NULL;
    for (unsigned state = 0; state < 32 && shape.merged; state++)
        if (scan->states >> state & 1)
            bind_number(ret_parameters, next++, state);
    ret_parameters->count = next;
}
