/* Schemas of services that are scaled, and of decisions. */
#include "logic/openapi.h"

#include "base/json.h"

static const struct schema_text schemas_text[] = {
    {"Score",
     "{'type':'object','description':'How a block was judged; what the policy does not compute is left "
     "out.','properties':{'block':{'type':'string'},"
     "'score':{'type':'number','description':'What the blocks are ordered by; the largest wins.'},"
     "'similarity':{'type':'number','description':'The distance of equation 2; the smallest is the most "
     "similar.'},'saturation':{'type':'number','description':'0..1: how close to its limit it works.'},"
     "'level':{'type':'number','description':'0..1: its part of all that waits.'},"
     "'gain':{'type':'number','description':'Throughput with one replica more, as a share.'},"
     "'replicas':{'type':'integer','description':'How many it should have.'},"
     "'gates':{'type':'array','description':'Why it was no candidate.','items':{'type':'string','enum':["
     "'not_scalable','starting','tabu','no_data','idle','peak','budget']}}},"
     "'required':['block','gates'],'additionalProperties':false}"},
    {"ShadowDecision",
     "{'type':'object','description':'What another policy would have decided.','properties':{"
     "'policy':{'type':'string'},'verdict':{'type':'string'},'block':{'type':'string'},"
     "'delta':{'type':'integer'},'edge':{'type':'string'},'tier':{'type':'integer'},"
     "'confidence':{'type':'number'},'predicted_throughput':{'type':'number'},"
     "'predicted_p95_ms':{'type':'number'},'reason':{'type':'string'},"
     "'refused':{'type':'string'}},'required':['policy','verdict'],'additionalProperties':false}"},
    {"Decision",
     "{'type':'object','properties':{'id':{'type':'string','description':'Left out where it is in no "
     "log: it says the same as the one before.'},'service':{'type':'string'},"
     "'time':{'type':'string','format':'date-time'},"
     "'mode':{'type':'string','enum':['off','advise','confirm','act']},'policy':{'type':'string'},"
     "'verdict':{'type':'string','enum':['hold','scale_out','scale_in','rollback','not_scalable',"
     "'insufficient_data','none'],'description':'What the policy wants; none: it gave no decision.'},"
     "'block':{'type':'string'},'delta':{'type':'integer','description':'Replicas.'},"
     "'edge':{'type':'string','description':'not_scalable: the hop that is slow.'},"
     "'tier':{'type':'integer','description':'Which signals it rests on: 0 processor, 1 pressure, 2 "
     "requests in flight.'},'confidence':{'type':'number'},'predicted_throughput':{'type':'number'},"
     "'predicted_p95_ms':{'type':'number'},'reason':{'type':'string','description':'The policy.'},"
     "'refused':{'type':'string','description':'Why it is no decision.'},"
     "'explanation':{'type':'string','description':'What is decided and why, and what stood against "
     "it.'},'ruling':{'type':'object','description':'What the rules of safety make of it.',"
     "'properties':{'act':{'type':'boolean'},'block':{'type':'string'},'delta':{'type':'integer'},"
     "'own':{'type':'boolean','description':'A rollback or a probe: not the wish of the policy.'},"
     "'rule':{'type':'string','description':'Which rule stood against it.'},"
     "'text':{'type':'string'}},'required':['act','own','rule'],'additionalProperties':false},"
     "'scores':{'type':'array','items':{'$ref':'#/components/schemas/Score'}},"
     "'shadows':{'type':'array','items':{'$ref':'#/components/schemas/ShadowDecision'}},"
     "'fence':{'type':'integer','description':'Counts the processes that have decided, one after "
     "another.'},'state':{'type':'string','enum':['noted','waiting','approved','acting','done',"
     "'failed','refused','expired','superseded'],'description':'What became of it.'},"
     "'from':{'type':'integer','description':'Replicas before.'},"
     "'to':{'type':'integer','description':'Replicas after.'},"
     "'approve_until':{'type':'string','format':'date-time'},'approved_by':{'type':'string'},"
     "'approved':{'type':'string','format':'date-time'},"
     "'error':{'type':'string','description':'Why it was not carried out.'},"
     "'effect':{'type':'object','description':'What came of it.','properties':{"
     "'outcome':{'type':'string','enum':['improved','no_gain','unclear']},'text':{'type':'string'},"
     "'time':{'type':'string','format':'date-time'}},'required':['outcome','text','time'],"
     "'additionalProperties':false}},'required':['service','time','mode','policy','verdict',"
     "'explanation','ruling','scores','shadows','fence','state'],'additionalProperties':false}"},
    {"ScaledBlock",
     "{'type':'object','properties':{'name':{'type':'string'},'platform':{'type':'string'},"
     "'group':{'type':'string'},'min':{'type':'integer'},'max':{'type':'integer'},"
     "'desired':{'type':'integer'},'ready':{'type':'integer'},'starting':{'type':'integer'},"
     "'tabu':{'type':'boolean','description':'An action on it brought nothing lately.'},"
     "'problem':{'type':'string','description':'Why the platform does not tell, or a replica does not "
     "come up.'},'now':{'type':'object','description':'The last window, by signal.',"
     "'additionalProperties':{'type':'number'}}},'required':['name','tabu','now'],"
     "'additionalProperties':false}"},
    {"Service",
     "{'type':'object','properties':{'id':{'type':'string','description':'Its name.'},"
     "'project':{'type':'string'},'mode':{'type':'string','enum':['off','advise','confirm','act']},"
     "'mode_set_by':{'type':'string'},'mode_set':{'type':'string','format':'date-time'},"
     "'policy':{'type':'string'},'updated':{'type':'string','format':'date-time'},"
     "'interval_ms':{'type':'integer','description':'Between decisions.'},"
     "'promises':{'type':'object','properties':{'p95_ms':{'type':'number'},"
     "'error_share':{'type':'number'}},'additionalProperties':false},"
     "'watched':{'type':'boolean','description':'Whether a process decides on it.'},"
     "'stale':{'type':'boolean','description':'Nothing was measured lately: nothing is done.'},"
     "'source_error':{'type':'string','description':'Why nothing was measured.'},"
     "'source_missing':{'type':'string','description':'Endpoints that do not answer, and signals "
     "without a series, while others have some.'},"
     "'breaker':{'type':'boolean','description':'It went to and fro: "
     "nothing is done until somebody sets the mode.'},"
     "'waiting':{'type':'string','description':'The decision that waits for its approval.'},"
     "'blocks':{'type':'array','items':{'$ref':'#/components/schemas/ScaledBlock'}},"
     "'trend':{'type':'object','description':'The last windows by signal, the oldest first; null where "
     "nothing was measured.','properties':{'end':{'type':'string','format':'date-time'},"
     "'window_ms':{'type':'integer'}},'required':['end','window_ms'],"
     "'additionalProperties':{'type':'array','items':{'type':['number','null']}}},"
     "'decision':{'$ref':'#/components/schemas/Decision'},"
     "'decisions':{'type':'array','description':'The last of the log, the latest first, in short.',"
     "'items':{'type':'object'}}},'required':['id','project','mode','policy','updated','interval_ms',"
     "'promises','watched','stale','breaker','blocks','trend'],'additionalProperties':false}"},
    {"ServiceList",
     "{'type':'object','properties':{'services':{'type':'array','items':{"
     "'$ref':'#/components/schemas/Service'}},'next':{'type':'string'}},'required':['services'],"
     "'additionalProperties':false}"},
    {"DecisionList",
     "{'type':'object','properties':{'decisions':{'type':'array','items':{"
     "'$ref':'#/components/schemas/Decision'}},'next':{'type':'string'}},'required':['decisions'],"
     "'additionalProperties':false}"},
    {"Explanation",
     "{'type':'object','properties':{'service':{'type':'string'},'mode':{'type':'string'},"
     "'time':{'type':'string','format':'date-time'},'explanation':{'type':'string'},"
     "'blocks':{'type':'array','description':'The best candidate first.','items':{'type':'object',"
     "'properties':{'block':{'type':'string'},'text':{'type':'string'}},'required':['block','text'],"
     "'additionalProperties':false}},'decision':{'$ref':'#/components/schemas/Decision'}},"
     "'required':['service','mode','explanation','blocks'],'additionalProperties':false}"},
    {"ServiceMode",
     "{'type':'object','properties':{'mode':{'type':'string','enum':['off','advise','confirm','act']}},"
     "'required':['mode'],'additionalProperties':false}"},
    {"ServiceModeSet",
     "{'type':'object','properties':{'service':{'type':'string'},'mode':{'type':'string'},"
     "'mode_set_by':{'type':'string'},'mode_set':{'type':'string','format':'date-time'}},"
     "'required':['service','mode','mode_set_by','mode_set'],'additionalProperties':false}"},
};

void openapi_add_scaling(json_t *schemas)
{
    for (size_t i = 0; i < sizeof(schemas_text) / sizeof(schemas_text[0]); i++) {
        json_object_set_new(schemas, schemas_text[i].name,
                            openapi_parse_schema(schemas_text[i].schema));
    }
}
