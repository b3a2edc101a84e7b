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
    kline.own = from:number('mark of an own version', 0, 1) == 1
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

-- Whether the sequences are gone although something was published: somebody has removed them, or Redis to get memory.
local function has_lost_sequences(keys)
  return redis.call('HLEN', keys[3]) == 0 and redis.call('XLEN', keys[4]) > 0
end

-- Reads what `append` and `resend` have in common.
local function begin_write(keys, args, is_given)
  local base, from, now = check_keys(keys, PARTITION, WRITE_KEYS), reader(args), clock()
  local call = {keys = keys, now = now, klines = {}, records = {}, packed = {}, entries = {}, conflicts = 0}
  call.expires = check_buckets(keys, base, now)
  call.caller, call.token = from:caller(), from:number('token', 1, MAX_NUMBER)
  call.replication = from:replication()
  if is_given then call.known_epoch = from:number('epoch', 0, MAX_NUMBER) end
  for at = 1, from:number('number of klines', 0, MAX_KLINES) do
    call.klines[at] = read_kline(from, keys, is_given)
  end
  from:finish()
  check_holder(keys[2], call.caller, call.token, now)
  call.epoch, call.entry = tonumber(redis.call('HGET', keys[1], 'epoch') or '0'), {}
  call.entries[1] = {epoch = call.epoch, fields = call.entry}
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

-- Takes the newest version of a node for a known kline, and publishes the best one if it is another one. `next_revision`
-- returns the revision that follows.
local function offer_one(call, kline, record, next_revision)
  local node = call.caller.name
  local at = find(record, node)
  if at and digest(record, at) == kline.digest then return keep(call, kline, record) end
  local is_new = offer(record, node, kline)
  if is_conflict(record, node) then call.conflicts = call.conflicts + 1 end
  if not is_new then return keep(call, kline, record) end
  return publish(call, kline, record, next_revision(record[1]), sequence_of(call, kline.series) + 1)
end

local function append_one(call, kline)
  local record = record_of(call, kline)
  if record then return offer_one(call, kline, record, function(revision) return revision + 1 end) end
  return publish(call, kline, new_record(call.caller.name, kline), 0, sequence_of(call, kline.series) + 1)
end

-- Begins an epoch: what follows is in another entry.
local function begin_epoch(call)
  local epoch = math.max(call.epoch + 1, call.known_epoch + 1, call.now)
  if epoch > MAX_NUMBER then refuse('ARGUMENT', 'the epoch is too great') end
  call.epoch, call.entry = epoch, {}
  call.entries[#call.entries + 1] = {epoch = epoch, fields = call.entry}
end

-- Takes a kline that a node was given earlier.
local function resend_one(call, kline)
  local record, node = record_of(call, kline), call.caller.name
  local last, known = sequence_of(call, kline.series), record and record[1] or -1
  local is_published = record and digest(record, record[3]) == kline.digest
  -- Other nodes may know later revisions that this Redis has lost, but fewer than the step in a minute.
  local function free(revision)
    return (math.floor(math.max(revision, call.highest[kline.identity]) / REVISION_STEP) + 1) * REVISION_STEP
  end
  if known > kline.revision or (known == kline.revision and (not kline.own or is_published)) then
    -- The newest version of this node may be lost although what is published is not.
    if kline ~= call.newest[kline.identity] then return keep(call, kline, record) end
    return offer_one(call, kline, record, free)
  end
  -- Numbers are missing, or are another kline's by now. Another Redis, which lost, may have published what is worse than
  -- what this one got.
  local is_later = known < kline.revision
  local is_restored = kline.own and is_later and not (record and has_better(record, node, kline))
  if not is_restored or kline.sequence ~= last + 1 then begin_epoch(call) end
  record = record or new_record(node, kline)
  if is_restored then
    record[3] = put(record, node, kline)
    return publish(call, kline, record, kline.revision, math.max(kline.sequence, last + 1))
  end
  if kline.own and not is_later then call.conflicts = call.conflicts + 1 end
  offer(record, node, kline)
  return publish(call, kline, record, free(record[1]), math.max(last, kline.sequence) + 1)
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

-- Writes everything, and returns the answer. Redis takes nothing back if a command fails: the stream comes first, because
-- its command can fail although all others would not, and then nothing is written.
local function end_write(call, answers)
  local keys, id = call.keys, ''
  for _, entry in ipairs(call.entries) do
    if #entry.fields > 0 then
      id = redis.call('XADD', keys[4], '*', 'epoch', text(entry.epoch), unpack(entry.fields))
    end
  end
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
  if id ~= '' then
    local fields = {}
    for series, sequence in pairs(call.sequences) do
      fields[#fields + 1] = series
      fields[#fields + 1] = text(tonumber(sequence))
    end
    redis.call('HSET', keys[3], unpack(fields))
  end
  if id ~= '' and redis.call('XLEN', keys[4]) > MAX_STREAM then force_length(keys[1], keys[4], MAX_STREAM) end
  if call.conflicts > 0 then redis.call('HINCRBY', keys[1], 'conflicts', call.conflicts) end
  local answer = {call.now, call.epoch, id}
  for _, one in ipairs(answers) do
    for _, value in ipairs(one) do answer[#answer + 1] = value end
  end
  return answer
end

-- Returns the names of the live holders.
local function living_holders(key, now)
  local names, records = {}, redis.call('HGETALL', key)
  for at = 1, #records, 2 do
    local _, _, expires = parse(records[at + 1])
    if expires and expires > now then names[#names + 1] = records[at] end
  end
  return names
end

-- Keeps who has not sent its last minute again since this Redis is another one. Returns whether there is somebody.
local function keep_owing(call, names, is_over)
  local owing = {}
  for _, name in ipairs(names) do
    if not is_over(name) then owing[#owing + 1] = name end
  end
  redis.call('HSET', call.keys[1], 'owing', table.concat(owing, ' '))
  return #owing > 0
end

local function words(text_of)
  local found = {}
  for word in string.gmatch(text_of or '', '%S+') do found[#found + 1] = word end
  return found
end

define('append', {}, function(keys, args)
  local call, answers = begin_write(keys, args, false), {}
  local replication, owing = unpack(redis.call('HMGET', keys[1], 'replication', 'owing'))
  if replication ~= call.replication then
    refuse('RESEND', 'this Redis does not know the replication id: send the last minute again first')
  end
  if has_lost_sequences(keys) then refuse('RESEND', 'the sequences are gone: send the last minute again first') end
  if owing and owing ~= '' then
    local living = {}
    for _, name in ipairs(living_holders(keys[2], call.now)) do living[name] = true end
    if keep_owing(call, words(owing), function(name) return not living[name] end) then
      refuse('WAIT', owing .. ' has not sent its last minute again')
    end
  end
  for at, kline in ipairs(call.klines) do
    answers[at] = call.expires[kline.bucket] <= call.now and {OLD, 0, 0} or append_one(call, kline)
  end
  return end_write(call, answers)
end)

define('resend', {}, function(keys, args)
  local call, answers = begin_write(keys, args, true), {}
  local replication, owing = unpack(redis.call('HMGET', keys[1], 'replication', 'owing'))
  local names = words(owing)
  local is_lost = has_lost_sequences(keys)
  if replication ~= call.replication or is_lost then
    names = living_holders(keys[2], call.now)
    begin_epoch(call)
  end
  -- Something has to be there, so that they are not taken for lost again.
  if is_lost then redis.call('HSET', keys[3], 'lost', text(call.epoch)) end
  -- The highest revision of each kline that the node knows to be given, and its newest version, which comes last.
  call.highest, call.newest = {}, {}
  for _, kline in ipairs(call.klines) do
    call.highest[kline.identity] = math.max(call.highest[kline.identity] or 0, kline.revision)
    call.newest[kline.identity] = kline
  end
  for at, kline in ipairs(call.klines) do
    answers[at] = call.expires[kline.bucket] <= call.now and {OLD, 0, 0} or resend_one(call, kline)
  end
  local answer = end_write(call, answers)
  keep_owing(call, names, function(name) return name == call.caller.name end)
  redis.call('HSET', keys[1], 'epoch', text(call.epoch), 'replication', call.replication)
  return answer
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
