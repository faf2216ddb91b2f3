/*
 * What happens inside Redis, in Lua. Commands of Redis 6.2, which Valkey has too.
 *
 * KEYS: stream, waiting, out, leases, delayed, idle.
 */
#include "redis_queue.h"

/* Redis before 7 wants to be told that a script that asks for the time may write. */
#define NOW                                                             \
    "if redis.replicate_commands then redis.replicate_commands() end\n" \
    "local t=redis.call('TIME')\n"                                      \
    "local now=t[1]*1000+math.floor(t[2]/1000)\n"

/* Somebody waits: tell. */
#define WAKE "if redis.call('DEL',KEYS[6])==1 then redis.call('PUBLISH',ARGV[1],'') end\n"

/* ARGV: channel, id, delay, capacity. Returns 0 if the topic is full, else 1. A set of waiting ids without a
 * stream is what is left of one that somebody removed: it would swallow every push. */
static const char push[] = NOW
    "local id=ARGV[2] local delay=tonumber(ARGV[3])\n"
    "if redis.call('SISMEMBER',KEYS[2],id)==1 then\n"
    "  if redis.call('XLEN',KEYS[1])>0 then return 1 end\n"
    "  redis.call('DEL',KEYS[2])\n"
    "end\n"
    "local score=redis.call('ZSCORE',KEYS[5],id)\n"
    "if not score and redis.call('XLEN',KEYS[1])+redis.call('ZCARD',KEYS[5])>=tonumber(ARGV[4])\n"
    "then return 0 end\n"
    "if delay==0 then\n"
    "  if score then redis.call('ZREM',KEYS[5],id) end\n"
    "  redis.call('SADD',KEYS[2],id)\n"
    "  redis.call('XADD',KEYS[1],'*','i',id)\n"
    "  " WAKE "elseif not score or now+delay<tonumber(score) then\n"
    "  redis.call('ZADD',KEYS[5],now+delay,id)\n"
    "  if redis.call('ZRANGE',KEYS[5],0,0)[1]==id then\n"
    "  " WAKE "  end\n"
    "end\n"
    "return 1";

/*
 * ARGV: channel, consumer, maximum, lease. Returns the milliseconds until something becomes ready by
 * itself (-1: nothing will), then ids and how often they were delivered, in turn.
 *
 * What is due joins the stream. What has outlived its lease is claimed from whoever has it; if another entry
 * of the same id waits, the two become one. Then the group reads. An id that is out already and is
 * taken once more is out twice, and ends with the second `done`.
 */
static const char take[] = NOW
    "local max=tonumber(ARGV[3]) local ends=now+tonumber(ARGV[4]) local got={-1}\n"
    "local function read(count)\n"
    "  return redis.pcall('XREADGROUP','GROUP','vimd',ARGV[2],'COUNT',count,'STREAMS',KEYS[1],'>')\n"
    "end\n"
    "for _,id in ipairs(redis.call('ZRANGEBYSCORE',KEYS[5],'-inf',now,'LIMIT',0,max)) do\n"
    "  redis.call('ZREM',KEYS[5],id)\n"
    "  if redis.call('SADD',KEYS[2],id)==1 then redis.call('XADD',KEYS[1],'*','i',id) end\n"
    "end\n"
    "for _,id in ipairs(redis.call('ZRANGEBYSCORE',KEYS[4],'-inf',now,'LIMIT',0,max)) do\n"
    "  local o=redis.call('HGET',KEYS[3],id) local again\n"
    "  local e=o and string.match(o,'^[^ ]+')\n"
    "  if e and redis.call('SISMEMBER',KEYS[2],id)==0 then\n"
    "    local c=redis.pcall('XCLAIM',KEYS[1],'vimd',ARGV[2],0,e)\n"
    "    again=not c.err and c[1]\n"
    "  end\n"
    "  if again then\n"
    "    local p=redis.call('XPENDING',KEYS[1],'vimd',e,e,1)\n"
    "    redis.call('HSET',KEYS[3],id,e)\n"
    "    redis.call('ZADD',KEYS[4],ends,id)\n"
    "    got[#got+1]=id got[#got+1]=p[1] and p[1][4] or 2\n"
    "  else\n"
    "    if e then redis.pcall('XACK',KEYS[1],'vimd',e) redis.call('XDEL',KEYS[1],e) end\n"
    "    redis.call('HDEL',KEYS[3],id) redis.call('ZREM',KEYS[4],id)\n"
    "  end\n"
    "end\n"
    "local more=max-(#got-1)/2\n"
    "if more>0 then\n"
    "  local r=read(more)\n"
    "  if r and r.err and string.find(r.err,'NOGROUP',1,true) then\n"
    "    redis.call('XGROUP','CREATE',KEYS[1],'vimd','0','MKSTREAM')\n"
    "    r=read(more)\n"
    "  end\n"
    "  if r and r.err then return r end\n"
    "  if r and r[1] then\n"
    "    local ids={} local fields={} local leases={}\n"
    "    for i,entry in ipairs(r[1][2]) do ids[i]=entry[2][2] end\n"
    "    local outs=redis.call('HMGET',KEYS[3],unpack(ids))\n"
    "    for i,entry in ipairs(r[1][2]) do\n"
    "      local id=ids[i] local value=entry[1] local till=ends\n"
    "      if outs[i] then\n"
    "        local e,n=string.match(outs[i],'^([^ ]+) ?(%d*)$')\n"
    "        value=value..' '..((tonumber(n) or 1)+1)\n"
    "        redis.call('XACK',KEYS[1],'vimd',e) redis.call('XDEL',KEYS[1],e)\n"
    "        till=math.max(ends,tonumber(redis.call('ZSCORE',KEYS[4],id) or 0))\n"
    "      end\n"
    "      fields[2*i-1]=id fields[2*i]=value leases[2*i-1]=till leases[2*i]=id\n"
    "      got[#got+1]=id got[#got+1]=1\n"
    "    end\n"
    "    redis.call('SREM',KEYS[2],unpack(ids))\n"
    "    redis.call('HSET',KEYS[3],unpack(fields))\n"
    "    redis.call('ZADD',KEYS[4],unpack(leases))\n"
    "  end\n"
    "end\n"
    "if #got==1 then\n"
    "  redis.call('SET',KEYS[6],'1')\n"
    "  local d=redis.call('ZRANGE',KEYS[5],0,0,'WITHSCORES')[2]\n"
    "  local l=redis.call('ZRANGE',KEYS[4],0,0,'WITHSCORES')[2]\n"
    "  local first=math.min(d and tonumber(d) or math.huge,l and tonumber(l) or math.huge)\n"
    "  if first<math.huge then got[1]=math.max(0,first-now) end\n"
    "end\n"
    "return got";

/* ARGV: channel, id, lease. Returns 0 if it is not out. */
static const char renew[] = NOW "local old=tonumber(redis.call('ZSCORE',KEYS[4],ARGV[2]) or 0)\n"
                                "if old<=now then return 0 end\n"
                                "local new=now+tonumber(ARGV[3])\n"
                                "redis.call('ZADD',KEYS[4],new,ARGV[2])\n"
                                "if new<old then\n" WAKE "end\n"
                                "return 1";

/* ARGV: channel, id. */
static const char done[] = "local o=redis.call('HGET',KEYS[3],ARGV[2])\n"
                           "if not o then return 0 end\n"
                           "local e,n=string.match(o,'^([^ ]+) ?(%d*)$') n=tonumber(n) or 1\n"
                           "if n>1 then\n"
                           "  redis.call('HSET',KEYS[3],ARGV[2],n>2 and e..' '..(n-1) or e)\n"
                           "  return 1\n"
                           "end\n"
                           "redis.call('HDEL',KEYS[3],ARGV[2]) redis.call('ZREM',KEYS[4],ARGV[2])\n"
                           "redis.pcall('XACK',KEYS[1],'vimd',e) redis.call('XDEL',KEYS[1],e)\n"
                           "return 1";

/* ARGV: channel. Returns waiting, delayed, delivered, and the age of the oldest that waits. */
static const char depth[] = NOW
    "local due=redis.call('ZCOUNT',KEYS[5],'-inf',now) local over=redis.call('ZCOUNT',KEYS[4],'-inf',now)\n"
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
    "return {waiting+due+over,redis.call('ZCARD',KEYS[5])-due,redis.call('ZCARD',KEYS[4])-over,oldest}";

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
        [SCRIPT_PUSH] = push, [SCRIPT_TAKE] = take,   [SCRIPT_RENEW] = renew,
        [SCRIPT_DONE] = done, [SCRIPT_DEPTH] = depth, [SCRIPT_TIDY] = tidy,
    };

    return texts[script];
}
