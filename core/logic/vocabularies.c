#include "logic/vocabularies.h"

#define COUNT(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))

#define TEXT(NAME, HELP)                                   \
    {                                                      \
        .name = (NAME), .type = FIELD_TEXT, .help = (HELP) \
    }
#define TIME(NAME, HELP)                                   \
    {                                                      \
        .name = (NAME), .type = FIELD_TIME, .help = (HELP) \
    }
#define INTEGER(NAME, HELP)                                   \
    {                                                         \
        .name = (NAME), .type = FIELD_INTEGER, .help = (HELP) \
    }
#define BOOLEAN(NAME, HELP)                                   \
    {                                                         \
        .name = (NAME), .type = FIELD_BOOLEAN, .help = (HELP) \
    }
#define CHOICE(NAME, CHOICES, HELP)                                                \
    {                                                                              \
        .name = (NAME), .type = FIELD_CHOICE, .choices = (CHOICES), .help = (HELP) \
    }
#define OBJECT(NAME, FIELDS, HELP)                                                              \
    {                                                                                           \
        .name = (NAME), .type = FIELD_OBJECT, .fields = (FIELDS), .field_count = COUNT(FIELDS), \
        .help = (HELP)                                                                          \
    }
/* To be chosen by ?fields=; its schema is written out elsewhere. */
#define ANY(NAME, HELP)                                      \
    {                                                        \
        .name = (NAME), .type = FIELD_OBJECT, .help = (HELP) \
    }
#define LIST(NAME, ELEMENT, HELP)                                                                 \
    {                                                                                             \
        .name = (NAME), .type = FIELD_LIST, .fields = (ELEMENT), .field_count = 1, .help = (HELP) \
    }

static const struct field backend_fields[] = {
    TEXT("service", "Which of the VIM's services answered."),
    TEXT("status", "Its status, as it gives it."),
    TEXT("request_id", "Its name for the request; several are separated by spaces."),
    TEXT("message", "Its words."),
};
static const struct field task_error_fields[] = {
    TEXT("code", "What kind of error."),
    TEXT("detail", "For people."),
    BOOLEAN("retryable", "Whether the same may succeed later."),
    INTEGER("retry_after", "Seconds after which to try again."),
    OBJECT("backend", backend_fields, "What the VIM said."),
};
static const struct field target_fields[] = {
    TEXT("kind", "Its kind."),
    TEXT("id", "Its id."),
    TEXT("name", "Its name when the task was made."),
};
static const struct field step_fields[] = {
    TEXT("name", "What is done."),
    CHOICE("state", "running waiting succeeded failed", "How it stands."),
    TEXT("backend_request_id", "The VIM's names for its requests, separated by spaces."),
    TIME("started", "When it was first called."),
    TIME("finished", "When it ended."),
    INTEGER("count", "How many calls it took."),
    TEXT("error", "Why the last call failed."),
};
static const struct field step = {.type = FIELD_OBJECT,
                                  .fields = step_fields,
                                  .field_count = COUNT(step_fields),
                                  .help = "A step."};
static const struct field result_fields[] = {
    TEXT("kind", "Its kind."),
    TEXT("id", "Its id."),
    TEXT("status", "Its status when the task ended."),
};
static const struct field task_fields[] = {
    TEXT("id", "The task's id; later ones are greater."),
    TEXT("kind", "What is done to what: server.create."),
    CHOICE("state",
           "queued running waiting succeeded failed timed_out cancelling cancelled rolling_back "
           "rolled_back rollback_failed",
           "How it stands."),
    INTEGER("progress", "Per cent."),
    OBJECT("target", target_fields, "The resource; as a plain filter its id."),
    TEXT("project", "Whom it belongs to."),
    TEXT("principal", "Who asked for it."),
    TEXT("vim", "Where it is done."),
    TIME("created", "When it was accepted."),
    TIME("started", "When the first step began."),
    TIME("updated", "When it last changed."),
    TIME("finished", "When it ended."),
    TIME("deadline", "When it is given up."),
    INTEGER("attempt", "Failures of the current step in a row."),
    INTEGER("max_attempts", "How many of them end it."),
    TEXT("idempotency_key", "The key that came with the request."),
    TEXT("parent", "The task of a network service that it is a part of."),
    TEXT("service", "And the network service."),
    LIST("steps", &step, "Its history."),
    OBJECT("result", result_fields, "What came of it."),
    OBJECT("error", task_error_fields, "Why it failed."),
};
static const struct field health_fields[] = {
    BOOLEAN("reachable", "Whether the last call was answered."),
    BOOLEAN("stuck", "Whether a call overstays."),
    TIME("checked", "When that was seen."),
    TEXT("detail", "The last failure."),
};
static const struct field kind_name = {.type = FIELD_TEXT, .help = "A kind."};
static const struct field vim_fields[] = {
    TEXT("id", "Its name."),
    TEXT("name", "Its name."),
    TEXT("plugin", "The driver."),
    TEXT("project", "Whom that belongs to which was not made through vimd."),
    OBJECT("health", health_fields, "How it is."),
    LIST("kinds", &kind_name, "The kinds of resources that its driver knows."),
};
static const struct field token_fields[] = {
    TEXT("id", "The token's id."),
    TEXT("name", "For people."),
    TEXT("project", "Whose things it is for."),
    CHOICE("role", "reader member operator admin", "What it allows."),
    TIME("created", "When it was made."),
    TIME("expires", "When it ends; left out: never."),
};
static const struct field field_name = {.type = FIELD_TEXT, .help = "Its name."};
static const struct field event_data_fields[] = {
    TEXT("task_kind", "task.ended: what was done to what: server.create."),
    TEXT("state", "task.ended: how it ended."),
    TEXT("principal", "task.ended: who asked for it."),
    TEXT("code", "task.ended: what kind of error."),
    TEXT("before", "resource.*: its status until then."),
    TEXT("status", "resource.*: its status from then on."),
    BOOLEAN("pending", "resource.*: whether it leaves that by itself."),
    TEXT("reason", "Why, for people; cut at 512 bytes."),
    TEXT("backend_id", "resource.* and drift.*: the VIM's own id."),
    LIST("fields", &field_name, "drift.*: which fields are not as wanted."),
    TEXT("block", "scaling.*: which of the service's blocks."),
    TEXT("decision", "scaling.*: the decision's id."),
    INTEGER("delta", "scaling.*: replicas more, or fewer."),
    INTEGER("from", "scaling.*: replicas before."),
    INTEGER("to", "scaling.*: replicas after."),
    TEXT("outcome", "scaling.effect: improved, no_gain or unclear."),
    TEXT("mode", "scaling.mode: the mode from then on."),
    BOOLEAN("stale", "scaling.stale: false: it is measured again."),
    TEXT("alarm", "alarm.*: its id."),
    CHOICE("alarm_type",
           "resource-error rollback-failed vim-unreachable quota-nearly-used store-unwritable",
           "alarm.*: what is not well."),
    CHOICE("severity", "critical major warning", "alarm.*: how bad that is."),
    TIME("raised", "alarm.*: since when."),
};
static const struct field event_fields[] = {
    TEXT("id", "The event's id: later ones are greater, and none is left out."),
    CHOICE("type",
           "task.ended resource.found resource.changed resource.deleted drift.found drift.settled "
           "drift.deleted scaling.acted scaling.effect scaling.not_ready scaling.refused "
           "scaling.breaker scaling.stale scaling.failed scaling.mode alarm.raised alarm.cleared",
           "What happened."),
    TIME("time", "When."),
    TEXT("project", "Whom it belongs to."),
    BOOLEAN("shared", "Whether every project sees it."),
    TEXT("vim", "Where."),
    TEXT("kind", "The kind of the resource."),
    TEXT("resource", "The resource's id."),
    TEXT("name", "The resource's name."),
    TEXT("task", "The task that did it, or did not."),
    INTEGER("revision", "Of the resource from then on."),
    OBJECT("data", event_data_fields, "What depends on the type."),
};

static const struct field word = {.type = FIELD_TEXT, .help = "One of them."};
static const struct field delivery_fields[] = {
    TEXT("last_event", "The event up to which all is delivered, given up, or not wanted."),
    INTEGER("failures", "In a row, until now."),
    INTEGER("dead_letters", "Events given up so far."),
    TIME("succeeded", "When an event was taken last."),
    TIME("failed", "When one was not."),
    TEXT("error", "Why not."),
};
static const struct field subscription_fields[] = {
    TEXT("id", "Its id."),
    TEXT("name", "For people."),
    TEXT("project", "Whose it is, and whose events it gets besides those that are shared."),
    TIME("created", "When it was made."),
    TEXT("url", "Where events are sent."),
    BOOLEAN("enabled", "Whether they are."),
    BOOLEAN("all_projects", "Whether it gets the events of every project."),
    LIST("types", &word, "Only events of these types."),
    LIST("kinds", &word, "Only about these kinds of resources."),
    LIST("resources", &word, "Only about these resources."),
    LIST("vims", &word, "Only of these VIMs."),
    INTEGER("secret_count", "How many secrets sign what is sent; they themselves are not shown."),
    OBJECT("delivery", delivery_fields, "How it goes."),
};
static const struct field dead_letter_fields[] = {
    TEXT("id", "Its id."),
    TEXT("subscription", "Whom it was for."),
    TEXT("event", "The event's id."),
    INTEGER("attempts", "How often it was sent."),
    TIME("time", "When it was sent last."),
    TEXT("error", "Why it was not taken."),
    OBJECT("data", event_fields, "The event."),
};

static const struct field alarm_fields[] = {
    TEXT("id", "Its type, a full stop, and what it is about."),
    CHOICE("type",
           "resource-error rollback-failed vim-unreachable quota-nearly-used store-unwritable",
           "What is not well."),
    CHOICE("severity", "critical major warning", "How bad that is."),
    TIME("raised", "Since when."),
    TEXT("project", "Whose concern it is; left out: everybody's."),
    BOOLEAN("shared", "Whether it is everybody's."),
    TEXT("vim", "Where."),
    TEXT("kind", "The kind of the resource."),
    TEXT("resource", "The resource's id."),
    TEXT("name", "The resource's name, or the quota's."),
    TEXT("task", "The task that failed."),
    TEXT("reason", "Why, for people; cut at 512 bytes."),
};

static const struct field orphan_fields[] = {
    TEXT("id", "Its id."),
    TEXT("kind", "Its kind."),
    TEXT("name", "Its name."),
    TEXT("vim", "Where it is."),
    TEXT("project", "Whose it is as long as nobody adopts it: the VIM's."),
    TEXT("status", "Its status."),
    TEXT("backend_id", "The VIM's own id."),
    TEXT("tag", "The id that it was made under."),
};
static const struct field drift_value_fields[] = {
    TIME("since", "When the first difference was seen."),
    {.name = "fields",
     .type = FIELD_OBJECT,
     .help = "By field: desired and seen, its values as they are wanted and as they are."},
};
static const struct field drift_fields[] = {
    TEXT("id", "The resource's id."),
    TEXT("kind", "Its kind."),
    TEXT("name", "Its name."),
    TEXT("vim", "Where it is."),
    TEXT("project", "Whose it is."),
    TEXT("status", "Its status."),
    TEXT("backend_id", "The VIM's own id."),
    OBJECT("drift", drift_value_fields, "What was changed outside."),
};

static const struct field scaling_fields[] = {
    TEXT("id", "Its name."),
    TEXT("project", "Whose members see and steer it; *: all see it."),
    CHOICE("mode", "off advise confirm act", "What is done."),
    TEXT("mode_set_by", "Who has set that."),
    TIME("mode_set", "When."),
    TEXT("policy", "What decides."),
    TIME("updated", "When it was looked at last."),
    INTEGER("interval_ms", "Between decisions."),
    ANY("promises", "What is promised."),
    BOOLEAN("watched", "Whether a process decides on it."),
    BOOLEAN("stale", "Whether nothing was measured lately."),
    TEXT("source_error", "Why not."),
    TEXT("source_missing",
         "Endpoints that do not answer, and signals without a series, while others have some."),
    BOOLEAN("breaker", "Whether it went to and fro, and nothing is done any more."),
    TEXT("waiting", "The decision that waits for its approval."),
    ANY("blocks", "What it is made of."),
    ANY("trend", "The last windows."),
    ANY("decision", "The last one."),
};
static const struct field decision_fields[] = {
    TEXT("id", "The decision's id; later ones are greater."),
    TEXT("service", "What it is about."),
    TIME("time", "When it was made."),
    CHOICE("mode", "off advise confirm act", "The service's mode then."),
    TEXT("policy", "What has decided."),
    CHOICE("verdict", "hold scale_out scale_in rollback not_scalable insufficient_data none",
           "What the policy wants; none: it gave no decision."),
    TEXT("block", "Which block."),
    INTEGER("delta", "Replicas more, or fewer."),
    TEXT("edge", "not_scalable: the hop that is slow."),
    INTEGER("tier", "Which signals it rests on."),
    ANY("confidence", "0..1."),
    ANY("predicted_throughput", "Requests per second."),
    ANY("predicted_p95_ms", "Milliseconds."),
    TEXT("reason", "The policy's, in one sentence."),
    TEXT("refused", "Why it is no decision."),
    TEXT("explanation", "What is decided and why, and what stood against it."),
    ANY("ruling", "What the rules of safety make of it."),
    ANY("scores", "How the blocks were judged."),
    ANY("shadows", "What other policies would have decided."),
    INTEGER("fence", "Which of the processes that have decided, one after another."),
    CHOICE("state", "noted waiting approved acting done failed refused expired superseded",
           "What became of it."),
    INTEGER("from", "Replicas before."),
    INTEGER("to", "Replicas after."),
    TIME("approve_until", "Until when it may be approved."),
    TEXT("approved_by", "Who has."),
    TIME("approved", "When."),
    TEXT("error", "Why it was not carried out."),
    ANY("effect", "What came of it."),
};

const struct vocabulary vocabulary_scaling = {{{scaling_fields, COUNT(scaling_fields)}, {NULL, 0}}};
const struct vocabulary vocabulary_decisions = {
    {{decision_fields, COUNT(decision_fields)}, {NULL, 0}}};
const struct vocabulary vocabulary_alarms = {{{alarm_fields, COUNT(alarm_fields)}, {NULL, 0}}};
const struct vocabulary vocabulary_orphans = {{{orphan_fields, COUNT(orphan_fields)}, {NULL, 0}}};
const struct vocabulary vocabulary_drift = {{{drift_fields, COUNT(drift_fields)}, {NULL, 0}}};
const struct vocabulary vocabulary_subscriptions = {
    {{subscription_fields, COUNT(subscription_fields)}, {NULL, 0}}};
const struct vocabulary vocabulary_dead_letters = {
    {{dead_letter_fields, COUNT(dead_letter_fields)}, {NULL, 0}}};
const struct vocabulary vocabulary_events = {{{event_fields, COUNT(event_fields)}, {NULL, 0}}};
const struct vocabulary vocabulary_tasks = {{{task_fields, COUNT(task_fields)}, {NULL, 0}}};
const struct vocabulary vocabulary_vims = {{{vim_fields, COUNT(vim_fields)}, {NULL, 0}}};
const struct vocabulary vocabulary_tokens = {{{token_fields, COUNT(token_fields)}, {NULL, 0}}};

struct vocabulary vocabulary_of_kind(const struct kind *kind)
{
    struct vocabulary vocabulary = {{{NULL, 0}, {kind->fields, kind->field_count}}};
    vocabulary.parts[0].fields = kinds_added_fields(&vocabulary.parts[0].count);
    return vocabulary;
}
