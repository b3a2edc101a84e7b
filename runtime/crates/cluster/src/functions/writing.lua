-- Appending klines, restoring what a failover has lost, and trimming. The same rules in Rust: `model/ledger.rs`.

local WRITE_KEYS = {'meta', 'holders', 'series', 'stream'}

-- Checks the keys of buckets. Returns the time at which each expires.
local function check_buckets(keys, base, now)
  if #keys > #WRITE_KEYS + MAX_BUCKETS then refuse('ARGUMENT', 'there are more than ' .. MAX_BUCKETS .. ' buckets') end
  local expires = {}
  for at = #WRITE_KEYS + 1, #keys do
    local class, number = string.match(string.sub(keys[at], #base + 1), '^:(%l+):(%d+)$')
    if not LENGTH[class] or #number > 11 or keys[at] ~= base .. ':' .. class .. ':' .. text(tonumber(number)) then
      refuse('ARGUMENT', 'key ' .. at .. ': expected a bucket of ' .. base)
    end
    local start = tonumber(number) * LENGTH[class]
    if start > now + MAX_AHEAD then
      refuse('ARGUMENT', 'key ' .. at .. ' is in the future: compare the clock of Redis with that of the exchange')
    end
    expires[at] = start + LENGTH[class] + RETENTION[class]
  end
  return expires
end

local function read_kline(from, keys, is_given)
  local kline = {series = from:match('series', '^%l+ [A-Z0-9_-]+ %d+%a+$', 96)}
  kline.identity = kline.series .. ' ' .. text(from:number('start', 0, MAX_NUMBER))
  kline.bucket = from:number('number of a key', #WRITE_KEYS + 1, #keys)
  kline.digest = from:match('digest', '^................$', 16)
  kline.rank = from:number('quality', 0, 3)
  kline.trades = from:match('number of trades', '^%d+$', 20)
  if #kline.trades > 1 and string.sub(kline.trades, 1, 1) == '0' then
    refuse('ARGUMENT', 'argument ' .. from.at .. ' has leading zeros')
  end
  kline.body = from:match('text of a kline', '^[ -~]+$', 1024)
  if is_given then
    kline.revision = from:number('revision', 0, MAX_REVISION)
    kline.sequence = from:number('sequence', 1, MAX_NUMBER)
  end
  return kline
end

-- Reads fields of a hash with one command.
local function read_fields(key, fields)
  if #fields == 0 then return {} end
  local values, found = redis.call('HMGET', key, unpack(fields)), {}
  for at, field in ipairs(fields) do found[field] = values[at] or nil end
  return found
end

-- Reads the records and the last sequences of all klines of a call: one command for each hash, not for each kline.
local function read_state(call)
  local identities, series, seen = {}, {}, {}
  for _, kline in ipairs(call.klines) do
    local of_bucket = identities[kline.bucket] or {}
    identities[kline.bucket] = of_bucket
    of_bucket[#of_bucket + 1] = kline.identity
    if not seen[kline.series] then series[#series + 1] = kline.series end
    seen[kline.series] = true
  end
  for bucket, fields in pairs(identities) do
    call.packed[bucket] = read_fields(call.keys[bucket], fields)
    call.records[bucket] = {}
  end
  call.sequences = read_fields(call.keys[3], series)
end

-- Reads what `append` and `resend` have in common.
local function begin_write(keys, args, is_given)
  local base, from, now = check_keys(keys, PARTITION, WRITE_KEYS), reader(args), clock()
  local call = {keys = keys, now = now, klines = {}, records = {}, packed = {}, entry = {}, conflicts = 0}
  call.expires = check_buckets(keys, base, now)
  call.caller, call.token = from:caller(), from:number('token', 1, MAX_NUMBER)
  call.replication = from:replication()
  if is_given then call.known_epoch = from:number('epoch', 0, MAX_NUMBER) end
  for at = 1, from:number('number of klines', 0, MAX_KLINES) do
    call.klines[at] = read_kline(from, keys, is_given)
  end
  from:finish()
  check_holder(keys[2], call.caller, call.token, now)
  call.epoch = tonumber(redis.call('HGET', keys[1], 'epoch') or '0')
  if redis.call('HLEN', keys[3]) + #call.klines > MAX_SERIES then refuse('FULL', 'the partition has too many series') end
  read_state(call)
  return call
end

local function record_of(call, kline)
  local known = call.records[kline.bucket][kline.identity]
  if known then return known end
  local packed = call.packed[kline.bucket][kline.identity]
  return packed and cmsgpack.unpack(packed) or nil
end

local function store(call, kline, record)
  call.records[kline.bucket][kline.identity] = record
end

local function sequence_of(call, series)
  return tonumber(call.sequences[series] or '0')
end

local PUBLISHED, SAME, KEPT, CONFLICT, OLD = 0, 1, 2, 3, 4

local function publish(call, kline, record, revision, sequence)
  if revision > MAX_REVISION or sequence > MAX_NUMBER then refuse('FULL', kline.identity .. ' has no further number') end
  record[1], record[2] = revision, sequence
  call.sequences[kline.series] = sequence
  store(call, kline, record)
  local at = record[3]
  call.entry[#call.entry + 1] = kline.identity
  call.entry[#call.entry + 1] = table.concat({text(revision), text(sequence), text(record[at * 5 + 1]), record[at * 5 + 2],
    body(record, at)}, ' ')
  return {digest(record, at) == kline.digest and PUBLISHED or KEPT, revision, sequence}
end

local function keep(call, kline, record)
  store(call, kline, record)
  local status = KEPT
  if digest(record, record[3]) == kline.digest then
    status = SAME
  elseif is_conflict(record, call.caller.name) then
    status = CONFLICT
  end
  return {status, record[1], record[2]}
end

local function new_record(node, kline)
  return {0, 0, 1, node, kline.digest, kline.rank, kline.trades, kline.body}
end

local function append_one(call, kline)
  local record, node = record_of(call, kline), call.caller.name
  local next_sequence = sequence_of(call, kline.series) + 1
  if not record then return publish(call, kline, new_record(node, kline), 0, next_sequence) end
  local at = find(record, node)
  if at and digest(record, at) == kline.digest then return keep(call, kline, record) end
  local is_new = offer(record, node, kline)
  if is_conflict(record, node) then call.conflicts = call.conflicts + 1 end
  if is_new then return publish(call, kline, record, record[1] + 1, next_sequence) end
  return keep(call, kline, record)
end

-- Takes a kline that a node was given earlier. Returns its answer, and whether numbers are missing or given twice.
local function resend_one(call, kline)
  local record, node = record_of(call, kline), call.caller.name
  local last = sequence_of(call, kline.series)
  local published = record and digest(record, record[3])
  local is_known = record and record[1] >= kline.revision and published == kline.digest
  if is_known or (record and record[1] > kline.revision) then
    if find(record, node) then return keep(call, kline, record), false end
    return append_one(call, kline), false
  end
  if kline.sequence > last and not (record and record[1] == kline.revision) then
    record = record or new_record(node, kline)
    record[3] = put(record, node, kline)
    return publish(call, kline, record, kline.revision, kline.sequence), kline.sequence > last + 1
  end
  call.conflicts = call.conflicts + 1
  local revision = math.max(record and record[1] or 0, kline.revision) + 1
  record = record or new_record(node, kline)
  offer(record, node, kline)
  return publish(call, kline, record, revision, last + 1), true
end

-- Removes the oldest entries beyond a length, up to some thousand a call, and announces it.
local function force_length(meta, stream, most)
  local forced = redis.call('XTRIM', stream, 'MAXLEN', '~', most, 'LIMIT', MAX_TRIMMED)
  if forced > 0 then
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    redis.call('HINCRBY', meta, 'forced', forced)
    redis.call('HSET', meta, 'forced_below', first and first[1] or '0-0')
  end
  return forced
end

-- Writes everything, and returns the answer.
local function end_write(call, answers)
  local keys, id = call.keys, ''
  for bucket, records in pairs(call.records) do
    local fields = {}
    for identity, record in pairs(records) do
      fields[#fields + 1] = identity
      fields[#fields + 1] = cmsgpack.pack(record)
    end
    if #fields > 0 then
      redis.call('HSET', keys[bucket], unpack(fields))
      redis.call('PEXPIREAT', keys[bucket], text(call.expires[bucket]))
    end
  end
  if #call.entry > 0 then
    local fields = {}
    for series, sequence in pairs(call.sequences) do
      fields[#fields + 1] = series
      fields[#fields + 1] = text(tonumber(sequence))
    end
    redis.call('HSET', keys[3], unpack(fields))
    id = redis.call('XADD', keys[4], '*', 'epoch', text(call.epoch), unpack(call.entry))
    if redis.call('XLEN', keys[4]) > MAX_STREAM then force_length(keys[1], keys[4], MAX_STREAM) end
  end
  if call.conflicts > 0 then redis.call('HINCRBY', keys[1], 'conflicts', call.conflicts) end
  local answer = {call.now, call.epoch, id}
  for _, one in ipairs(answers) do
    for _, value in ipairs(one) do answer[#answer + 1] = value end
  end
  return answer
end

define('append', {}, function(keys, args)
  local call, answers = begin_write(keys, args, false), {}
  if redis.call('HGET', keys[1], 'replication') ~= call.replication then
    refuse('RESEND', 'this Redis does not know the replication id: send the last minute again first')
  end
  for at, kline in ipairs(call.klines) do
    answers[at] = call.expires[kline.bucket] <= call.now and {OLD, 0, 0} or append_one(call, kline)
  end
  return end_write(call, answers)
end)

define('resend', {}, function(keys, args)
  local call, answers = begin_write(keys, args, true), {}
  local begins = redis.call('HGET', keys[1], 'replication') ~= call.replication
  for at, kline in ipairs(call.klines) do
    local shows = false
    if call.expires[kline.bucket] <= call.now then
      answers[at] = {OLD, 0, 0}
    else
      answers[at], shows = resend_one(call, kline)
    end
    begins = begins or shows
  end
  if begins then
    call.epoch = math.max(call.epoch + 1, call.known_epoch + 1, call.now)
    if call.epoch > MAX_NUMBER then refuse('ARGUMENT', 'the epoch is too great') end
    redis.call('HSET', keys[1], 'epoch', text(call.epoch), 'replication', call.replication)
  end
  return end_write(call, answers)
end)

define('trim', {'allow-oom'}, function(keys, args)
  exactly(keys, PARTITION, {'meta', 'holders', 'stream', 'groups'})
  local from = reader(args)
  local caller, token = from:caller(), from:number('token', 1, MAX_NUMBER)
  local age, most = from:number('age in ms', 0, MAX_NUMBER), from:number('number of entries', 1, MAX_STREAM)
  local living = from:number('life of a group in ms', 0, MAX_NUMBER)
  from:finish()
  local now = clock()
  check_holder(keys[2], caller, token, now)
  local before = text(math.max(now - age, 0)) .. '-0'
  for _, group in ipairs(redis.call('HKEYS', keys[4])) do
    local known = read_group(keys[4], group)
    if known and known.seen + living >= now and is_earlier(known.position, before) then before = known.position end
  end
  local removed = redis.call('XTRIM', keys[3], 'MINID', '~', before, 'LIMIT', MAX_TRIMMED)
  local forced = redis.call('XLEN', keys[3]) > most and force_length(keys[1], keys[3], most) or 0
  return {now, removed, forced, redis.call('XLEN', keys[3])}
end)

define('partition', {'no-writes'}, function(keys, args)
  exactly(keys, PARTITION, {'meta', 'holders', 'stream', 'groups'})
  reader(args):finish()
  local last = redis.call('XREVRANGE', keys[3], '+', '-', 'COUNT', 1)[1]
  return {clock(), redis.call('XLEN', keys[3]), last and last[1] or '0-0', redis.call('HGETALL', keys[1]),
    redis.call('HGETALL', keys[2]), redis.call('HGETALL', keys[4])}
end)
