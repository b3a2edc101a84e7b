-- The holders of a partition: nodes that may write it, each under a lease of its own.

-- Returns the owner's process, the token, when the lease is over, and the rest of a record.
local function parse(record)
  local instance, token, expires, rest = string.match(record or '', '^(%x+) (%d+) (%d+) (.*)$')
  return instance, tonumber(token), tonumber(expires), rest
end

local function check_holder(key, caller, token, now)
  local instance, known, expires = parse(redis.call('HGET', key, caller.name))
  if instance ~= caller.instance or known ~= token or expires <= now then
    refuse('STALE', 'the lease of ' .. caller.name .. ' on ' .. key .. ' is over')
  end
end

-- Removes the holders whose lease is over. Returns the names and phases of the others, and their number.
local function expire_holders(key, now)
  local living, count, records = {}, 0, redis.call('HGETALL', key)
  for at = 1, #records, 2 do
    local instance, token, expires, phase = parse(records[at + 1])
    if not expires or expires <= now then
      redis.call('HDEL', key, records[at])
    else
      if expires > now + MAX_LEASE then
        redis.call('HSET', key, records[at], table.concat({instance, text(token), text(now + MAX_LEASE), phase}, ' '))
      end
      living[records[at]] = phase
      count = count + 1
    end
  end
  return living, count
end

define('hold', {'allow-oom'}, function(keys, args)
  exactly(keys, PARTITION, {'meta', 'holders'})
  local from = reader(args)
  local caller, token, lease = from:caller(), from:number('token', 0, MAX_NUMBER), from:lease()
  local phase = from:match('phase', '^%l+$', 8)
  from:finish()
  if phase ~= 'seeding' and phase ~= 'counting' then refuse('ARGUMENT', 'the phase is seeding or counting') end
  local now = clock()
  local living, count = expire_holders(keys[2], now)
  if token == 0 then
    local instance = parse(redis.call('HGET', keys[2], caller.name))
    if instance and instance ~= caller.instance then
      refuse('TAKEN', caller.name .. ' holds it in another process')
    end
    if not instance and count >= MAX_HOLDERS then refuse('FULL', 'the partition has too many holders') end
    token = redis.call('HINCRBY', keys[1], 'token', 1)
  else
    check_holder(keys[2], caller, token, now)
  end
  local record = {caller.instance, text(token), text(now + lease), phase}
  redis.call('HSET', keys[2], caller.name, table.concat(record, ' '))
  living[caller.name] = phase
  local answer = {now, token}
  for name, phase in pairs(living) do
    answer[#answer + 1] = name
    answer[#answer + 1] = phase
  end
  return answer
end)

define('drop', {'allow-oom'}, function(keys, args)
  exactly(keys, PARTITION, {'holders'})
  local from = reader(args)
  local caller, token = from:caller(), from:number('token', 1, MAX_NUMBER)
  from:finish()
  local instance, known = parse(redis.call('HGET', keys[1], caller.name))
  if instance ~= caller.instance or known ~= token then return {clock(), 0} end
  redis.call('HDEL', keys[1], caller.name)
  return {clock(), 1}
end)

