/*
 * What happens inside Redis, in Lua. Commands of Redis 6.2, which Valkey has too.
 *
 * KEYS: stream, waiting, leases, delayed, idle.
 */
#include "redis_queue.h"

#define TEXT_OF(number) #number
#define TEXT_OF_VALUE(macro) TEXT_OF(macro)
#define MEMBER_MIN_TEXT TEXT_OF_VALUE(MEMBER_MIN)

/* Redis before 7 wants to be told that a script that asks for the time may write. */
#define NOW                                                             \
    "if redis.replicate_commands then redis.replicate_commands() end\n" \
    "local t=redis.call('TIME')\n"                                      \
    "local now=t[1]*1000+math.floor(t[2]/1000)\n"

/* Somebody waits: tell. */
#define WAKE "if redis.call('DEL',KEYS[5])==1 then redis.call('PUBLISH',ARGV[1],'') end\n"

/* ARGV: channel, capacity, then ids and delays in turn. Returns for each 0 if the topic is full, else 1. A set
 * of waiting ids without a stream is what is left of one that somebody removed: it would swallow every
 * push. */
static const char push[] =
    NOW "local length=redis.call('XLEN',KEYS[1]) local delayed=redis.call('ZCARD',KEYS[4])\n"
        "local capacity=tonumber(ARGV[2]) local size=length+delayed local got={} local wake=false\n"
        "if length==0 then redis.call('DEL',KEYS[2]) end\n"
        "local function later(id,due)\n"
        "  if redis.call('SISMEMBER',KEYS[2],id)==1 then return 1 end\n"
        "  local score=redis.call('ZSCORE',KEYS[4],id)\n"
        "  if score and tonumber(score)<=due then return 1 end\n"
        "  if not score then\n"
        "    if size>=capacity then return 0 end\n"
        "    size=size+1 delayed=delayed+1\n"
        "  end\n"
        "  redis.call('ZADD',KEYS[4],due,id)\n"
        "  if redis.call('ZRANGE',KEYS[4],0,0)[1]==id then wake=true end\n"
        "  return 1\n"
        "end\n"
        "local function at_once(id)\n"
        "  if redis.call('SADD',KEYS[2],id)==0 then return 1 end\n"
        "  local was=delayed>0 and redis.call('ZREM',KEYS[4],id) or 0\n"
        "  if was==0 and size>=capacity then redis.call('SREM',KEYS[2],id) return 0 end\n"
        "  redis.call('XADD',KEYS[1],'*','i',id)\n"
        "  size=size+1-was delayed=delayed-was wake=true\n"
        "  return 1\n"
        "end\n"
        "for i=3,#ARGV,2 do\n"
        "  local delay=tonumber(ARGV[i+1])\n"
        "  got[#got+1]=delay==0 and at_once(ARGV[i]) or delay>0 and later(ARGV[i],now+delay) or 0\n"
        "end\n"
        "if wake then\n" WAKE "end\n"
        "return got";

/* Ends N entries: their names stand in ARGV from FIRST on, their members behind these. */
#define END(n, first)                                                                 \
    "if " n ">0 then\n"                                                               \
    "  redis.call('ZREM',KEYS[3],unpack(ARGV," first "+" n "," first "+2*" n "-1))\n" \
    "  redis.pcall('XACK',KEYS[1],'vimd',unpack(ARGV," first "," first "+" n "-1))\n" \
    "  redis.call('XDEL',KEYS[1],unpack(ARGV," first "," first "+" n "-1))\n"         \
    "end\n"

/*
 * ARGV: channel, consumer, maximum, lease, number of entries that have ended, their names, their members.
 * Returns the milliseconds until something becomes ready by itself (-1: nothing will), then for each entry its
 * id, how often it was delivered, and its name.
 *
 * What is due joins the stream. What has outlived its lease is claimed from whoever has it; if another entry
 * of the same id waits, the two become one. Then the group reads. An id that is out already and is
 * taken once more is out twice, and ends with the second `done`. Who gets less than it wanted waits next, so
 * the next push has to tell.
 */
static const char take[] = NOW
    "local max=tonumber(ARGV[3]) local ends=now+tonumber(ARGV[4]) local ended=tonumber(ARGV[5])\n"
    "local got={-1} local leases={}\n" END(
        "ended",
        "6") "local function read(count)\n"
             "  return redis.pcall('XREADGROUP','GROUP','vimd',ARGV[2],'COUNT',count,'STREAMS',KEYS[1],'>')\n"
             "end\n"
             "for _,id in ipairs(redis.call('ZRANGEBYSCORE',KEYS[4],'-inf',now,'LIMIT',0,max)) do\n"
             "  redis.call('ZREM',KEYS[4],id)\n"
             "  if redis.call('SADD',KEYS[2],id)==1 then redis.call('XADD',KEYS[1],'*','i',id) end\n"
             "end\n"
             "for _,m in ipairs(redis.call('ZRANGEBYSCORE',KEYS[3],'-inf',now,'LIMIT',0,max)) do\n"
             "  local e,id=string.match(m,'^(%S+) (%S+)') local again\n"
             "  if redis.call('SISMEMBER',KEYS[2],id)==0 then\n"
             "    local c=redis.pcall('XCLAIM',KEYS[1],'vimd',ARGV[2],0,e)\n"
             "    again=not c.err and c[1]\n"
             "  end\n"
             "  if again then\n"
             "    local p=redis.call('XPENDING',KEYS[1],'vimd',e,e,1)\n"
             "    redis.call('ZADD',KEYS[3],ends,m)\n"
             "    got[#got+1]=id got[#got+1]=p[1] and p[1][4] or 2 got[#got+1]=e\n"
             "  else\n"
             "    redis.pcall('XACK',KEYS[1],'vimd',e) redis.call('XDEL',KEYS[1],e)\n"
             "    redis.call('ZREM',KEYS[3],m)\n"
             "  end\n"
             "end\n"
             "local more=max-(#got-1)/3\n"
             "if more>0 then\n"
             "  local r=read(more)\n"
             "  if r and r.err and string.find(r.err,'NOGROUP',1,true) then\n"
             "    redis.call('XGROUP','CREATE',KEYS[1],'vimd','0','MKSTREAM')\n"
             "    r=read(more)\n"
             "  end\n"
             "  if r and r.err then return r end\n"
             "  if r and r[1] then\n"
             "    local ids={} local n=#got\n"
             "    for i,entry in ipairs(r[1][2]) do\n"
             "      local id=entry[2][2] local m=entry[1]..' '..id\n"
             "      ids[i]=id leases[2*i-1]=ends\n"
             "      leases[2*i]=#m<" MEMBER_MIN_TEXT " and m..string.rep(' '," MEMBER_MIN_TEXT
             "-#m) or m\n"
             "      got[n+1]=id got[n+2]=1 got[n+3]=entry[1] n=n+3\n"
             "    end\n"
             "    redis.call('SREM',KEYS[2],unpack(ids))\n"
             "    redis.call('ZADD',KEYS[3],unpack(leases))\n"
             "  end\n"
             "end\n"
             "if (#got-1)/3<max then\n"
             "  redis.call('SET',KEYS[5],'1')\n"
             "  local d=redis.call('ZRANGE',KEYS[4],0,0,'WITHSCORES')[2]\n"
             "  local l=redis.call('ZRANGE',KEYS[3],0,0,'WITHSCORES')[2]\n"
             "  local first=math.min(d and tonumber(d) or math.huge,l and tonumber(l) or math.huge)\n"
             "  if first<math.huge then got[1]=math.max(0,first-now) end\n"
             "end\n"
             "return got";

/* ARGV: channel, member, lease. Returns 0 if it is not out. */
static const char renew[] = NOW "local old=tonumber(redis.call('ZSCORE',KEYS[3],ARGV[2]) or 0)\n"
                                "if old<=now then return 0 end\n"
                                "local new=now+tonumber(ARGV[3])\n"
                                "redis.call('ZADD',KEYS[3],new,ARGV[2])\n"
                                "if new<old then\n" WAKE "end\n"
                                "return 1";

/* ARGV: channel, number of entries that have ended, their names, their members. */
static const char done[] = "local ended=tonumber(ARGV[2])\n" END("ended", "3") "return 1";

/* ARGV: channel, id. Returns the name of an entry of it that is out. */
static const char find[] = "for _,m in ipairs(redis.call('ZRANGE',KEYS[3],0,-1)) do\n"
                           "  local e,id=string.match(m,'^(%S+) (%S+)')\n"
                           "  if id==ARGV[2] then return e end\n"
                           "end\n"
                           "return 0";

/* ARGV: channel. Returns waiting, delayed, delivered, and the age of the oldest that waits. */
static const char depth[] = NOW
    "local due=redis.call('ZCOUNT',KEYS[4],'-inf',now) local over=redis.call('ZCOUNT',KEYS[3],'-inf',now)\n"
    "local waiting=redis.call('SCARD',KEYS[2]) local oldest=0\n"
    "if waiting>0 then\n"
    "  local last='0-0' local groups=redis.pcall('XINFO','GROUPS',KEYS[1])\n"
    "  if not groups.err and groups[1] then\n"
    "    for i=1,#groups[1]-1,2 do\n"
    "      if groups[1][i]=='last-delivered-id' then last=groups[1][i+1] end\n"
    "    end\n"
    "  end\n"
    "  local first=redis.call('XRANGE',KEYS[1],'('..last,'+','COUNT',1)[1]\n"
    "  if first then oldest=math.max(0,now-tonumber(string.match(first[1],'^%d+'))) end\n"
    "end\n"
    "return {waiting+due+over,redis.call('ZCARD',KEYS[4])-due,redis.call('ZCARD',KEYS[3])-over,oldest}";

/* ARGV: channel. Consumers of instances that have ended go: nothing is out under their name, and they were not
 * heard of for an hour. One that is there after all is made again when it reads. */
static const char tidy[] = "local consumers=redis.pcall('XINFO','CONSUMERS',KEYS[1],'vimd')\n"
                           "if consumers.err then return 0 end\n"
                           "for _,c in ipairs(consumers) do\n"
                           "  local f={} for i=1,#c-1,2 do f[c[i]]=c[i+1] end\n"
                           "  if f.pending==0 and f.idle>3600000 then\n"
                           "    redis.call('XGROUP','DELCONSUMER',KEYS[1],'vimd',f.name)\n"
                           "  end\n"
                           "end\n"
                           "return 1";

const char *script_text(enum script script)
{
    static const char *const texts[SCRIPT_COUNT] = {
        [SCRIPT_PUSH] = push, [SCRIPT_TAKE] = take,   [SCRIPT_RENEW] = renew, [SCRIPT_DONE] = done,
        [SCRIPT_FIND] = find, [SCRIPT_DEPTH] = depth, [SCRIPT_TIDY] = tidy,
    };

    return texts[script];
}
