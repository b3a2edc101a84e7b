-- Worker leases: one worker for each partition of a group, what the group has acknowledged, and the state of its consumer,
-- which changes only together with that.

-- A group's record: process, token, when the lease is over, then owner, replication id, position, and when it was seen.
local function read_group(key, group)
  local instance, token, expires, rest = parse(redis.call('HGET', key, group))
  if not instance then return nil end
  local owner, replication, position, seen = string.match(rest, '^(%S+) (%S+) (%S+) (%d+)$')
  return {instance = instance, token = token, expires = expires, owner = owner, replication = replication,
    position = position, seen = tonumber(seen)}
end

local function write_group(key, group, of, now)
  local record = {of.instance, text(of.token), text(of.expires), of.owner, of.replication, of.position, text(now)}
  redis.call('HSET', key, group, table.concat(record, ' '))
end

define('acquire', {}, function(keys, args)
  exactly(keys, PARTITION, {'groups'})
  local from = reader(args)
  local group, caller, lease = from:name('group'), from:caller(), from:lease()
  local replication, begin = from:replication(), from:id()
  from:finish()
  local now, known = clock(), read_group(keys[1], group)
  if known then
    local is_own = known.owner == caller.name and known.instance == caller.instance
    local expires = math.min(known.expires, now + MAX_LEASE)
    if expires > now and not is_own then
      if expires < known.expires then
        known.expires = expires
        write_group(keys[1], group, known, known.seen)
      end
      refuse('HELD', known.owner .. ' works on it for ' .. text(expires - now) .. ' ms more')
    end
  elseif redis.call('HLEN', keys[1]) >= MAX_GROUPS then
    refuse('FULL', 'the partition has too many groups')
  end
  local token, position = known and known.token + 1 or 1, known and known.position or begin
  write_group(keys[1], group, {instance = caller.instance, token = token, expires = now + lease, owner = caller.name,
    replication = replication, position = position}, now)
  return {now, token, position}
end)

-- Renews the lease of a group, or ends it if `lease` is 0, and moves its position on. `change` reads further arguments and
-- returns what else is to be written.
local function renew(keys, from, lease_of, change)
  local group, caller, token = from:name('group'), from:caller(), from:number('token', 1, MAX_NUMBER)
  exactly(keys, PARTITION, change and {'groups', 'state:' .. group} or {'groups'})
  local lease, replication, position = lease_of(from), from:replication(), from:id()
  local write = change and change(from)
  from:finish()
  local now, known = clock(), read_group(keys[1], group)
  local is_own = known and known.owner == caller.name and known.instance == caller.instance
  if not is_own or known.token ~= token or known.expires <= now then
    refuse('STALE', 'the lease of ' .. caller.name .. ' on ' .. group .. ' in ' .. keys[1] .. ' is over')
  end
  if known.replication ~= replication then refuse('RESEND', 'this is another Redis than at the grant: acquire again') end
  if is_earlier(position, known.position) then refuse('ARGUMENT', 'the position would go back from ' .. known.position) end
  if write then write(keys[2]) end
  known.expires, known.position = now + lease, position
  write_group(keys[1], group, known, now)
  return {now, token, position}
end

-- Reads the changes of a state: fields that are deleted, and those that get a value.
local function changes(from)
  local deleted, set = {}, {}
  for at = 1, from:number('number of fields', 0, MAX_FIELDS) do deleted[at] = from:bytes('field', MAX_FIELD) end
  for at = 1, 2 * from:number('number of fields', 0, MAX_FIELDS), 2 do
    set[at], set[at + 1] = from:bytes('field', MAX_FIELD), from:bytes('value', MAX_VALUE)
  end
  return function(key)
    -- One by one: Lua passes only some thousand arguments at once.
    for _, field in ipairs(deleted) do redis.call('HDEL', key, field) end
    for at = 1, #set, 2 do redis.call('HSET', key, set[at], set[at + 1]) end
  end
end

define('commit', {}, function(keys, args)
  return renew(keys, reader(args), function(from) return from:lease() end, changes)
end)

-- Notes what a group has acknowledged whose lease is in another partition.
define('note', {'allow-oom'}, function(keys, args)
  exactly(keys, PARTITION, {'groups'})
  local from = reader(args)
  local group, caller, replication, position = from:name('group'), from:caller(), from:replication(), from:id()
  from:finish()
  local now, known = clock(), read_group(keys[1], group)
  if not known and redis.call('HLEN', keys[1]) >= MAX_GROUPS then refuse('FULL', 'the partition has too many groups') end
  if known and is_earlier(position, known.position) then position = known.position end
  write_group(keys[1], group, {instance = caller.instance, token = known and known.token or 0, expires = 0,
    owner = caller.name, replication = replication, position = position}, now)
  return {now, known and known.token or 0, position}
end)

define('renew', {'allow-oom'}, function(keys, args)
  return renew(keys, reader(args), function(from) return from:lease() end)
end)

define('release', {'allow-oom'}, function(keys, args)
  return renew(keys, reader(args), function() return 0 end)
end)

