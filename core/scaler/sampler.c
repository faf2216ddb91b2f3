#include "scaler/sampler.h"

#include <math.h>
#include <stdlib.h>
#include "base/memory.h"

struct sampler {
    const struct sampler_source *source;
    void *state;
};

const struct sampler_source *sampler_source_of(enum service_source_kind kind)
{
    return kind == SOURCE_PROMETHEUS ? &sampler_prometheus : &sampler_vimd;
}

int sampler_new_with(const struct sampler_source *source, const struct service *service,
                     const struct sampler_host *host, struct sampler **ret_sampler,
                     struct failure *failure)
{
    void *state = NULL;
    int code = source->open(service, host, &state, failure);
    if (code != VIM_OK) {
        return code;
    }
    struct sampler *sampler = MEMORY_NEW(struct sampler);
    sampler->source = source;
    sampler->state = state;
    *ret_sampler = sampler;
    return VIM_OK;
}

int sampler_new(const struct service *service, const struct sampler_host *host,
                struct sampler **ret_sampler, struct failure *failure)
{
    return sampler_new_with(sampler_source_of(service->source.kind), service, host, ret_sampler,
                            failure);
}

int sampler_sample(struct sampler *sampler, const struct sampler_look *look,
                   struct failure *failure)
{
    return sampler->source->sample(sampler->state, look, failure);
}

void sampler_free(struct sampler *sampler)
{
    if (sampler) {
        sampler->source->close(sampler->state);
        free(sampler);
    }
}

int64_t sampler_grid(int64_t at, int64_t window_ms)
{
    return at - at % window_ms;
}

double sampler_counter_step(struct sampler_counter *counter, double value)
{
    if (!isfinite(value)) {
        counter->known = false;
        return NAN;
    }
    double difference = !counter->known           ? NAN
                        : value >= counter->value ? value - counter->value
                                                  : value;
    *counter = (struct sampler_counter){.value = value, .known = true};
    return difference;
}
