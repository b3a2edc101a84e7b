-- The members of a cluster: who lives, and the lease that says so.

local MEMBER_KEYS = {'members', 'leases', 'meta'}

-- Removes the members whose lease is over, and cuts leases that last too long because the clock was put back.
local function expire_members(keys, now)
  local over = redis.call('ZRANGEBYSCORE', keys[2], '-inf', now)
  for _, name in ipairs(over) do
    redis.call('HDEL', keys[1], name)
    redis.call('ZREM', keys[2], name)
  end
  if #over > 0 then redis.call('HINCRBY', keys[3], 'generation', 1) end
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', keys[2], '(' .. text(now + MAX_LEASE), '+inf')) do
    redis.call('ZADD', keys[2], now + MAX_LEASE, name)
  end
end

local function view(keys, answer, known)
  local generation = tonumber(redis.call('HGET', keys[3], 'generation') or '0')
  answer[#answer + 1] = generation
  answer[#answer + 1] = generation == known and 0 or 1
  if generation == known then return answer end
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', keys[2], '(' .. text(answer[1]), '+inf')) do
    answer[#answer + 1] = name
    answer[#answer + 1] = string.match(redis.call('HGET', keys[1], name) or '', '^%x+ %d+ (.*)$') or ''
  end
  return answer
end

-- Returns whether the caller is the member with this token.
local function is_member(keys, caller, token)
  local instance, known = string.match(redis.call('HGET', keys[1], caller.name) or '', '^(%x+) (%d+) ')
  return instance == caller.instance and tonumber(known) == token
end

define('join', {}, function(keys, args)
  exactly(keys, CLUSTER, MEMBER_KEYS)
  local from = reader(args)
  local caller, lease = from:caller(), from:lease()
  local about = from:match('description of a node', '^[ -~]*$', MAX_ABOUT)
  from:finish()
  local now = clock()
  expire_members(keys, now)
  local known = redis.call('HGET', keys[1], caller.name)
  if known and string.sub(known, 1, 16) ~= caller.instance then
    refuse('TAKEN', caller.name .. ' is a live member in another process')
  end
  if not known and redis.call('HLEN', keys[1]) >= MAX_MEMBERS then refuse('FULL', 'there are too many members') end
  local token = redis.call('HINCRBY', keys[3], 'token', 1)
  redis.call('HSET', keys[1], caller.name, caller.instance .. ' ' .. text(token) .. ' ' .. about)
  redis.call('ZADD', keys[2], now + lease, caller.name)
  redis.call('HINCRBY', keys[3], 'generation', 1)
  return view(keys, {now, token}, nil)
end)

define('beat', {'allow-oom'}, function(keys, args)
  exactly(keys, CLUSTER, MEMBER_KEYS)
  local from = reader(args)
  local caller, token, lease = from:caller(), from:number('token', 1, MAX_NUMBER), from:lease()
  local known = from:number('generation', 0, MAX_NUMBER)
  from:finish()
  local now = clock()
  expire_members(keys, now)
  if not is_member(keys, caller, token) then refuse('STALE', 'the lease of ' .. caller.name .. ' is over') end
  redis.call('ZADD', keys[2], now + lease, caller.name)
  return view(keys, {now, token}, known)
end)

define('leave', {'allow-oom'}, function(keys, args)
  exactly(keys, CLUSTER, MEMBER_KEYS)
  local from = reader(args)
  local caller, token = from:caller(), from:number('token', 1, MAX_NUMBER)
  from:finish()
  if not is_member(keys, caller, token) then return {clock(), 0} end
  redis.call('HDEL', keys[1], caller.name)
  redis.call('ZREM', keys[2], caller.name)
  redis.call('HINCRBY', keys[3], 'generation', 1)
  return {clock(), 1}
end)

define('view', {'no-writes'}, function(keys, args)
  exactly(keys, CLUSTER, MEMBER_KEYS)
  reader(args):finish()
  return view(keys, {clock(), 0}, nil)
end)

