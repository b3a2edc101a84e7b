-- The versions of one kline, and which of them is published. The same rules in Rust: `model/record.rs`.
--
-- A record is a list: revision, sequence, the number of the published version, and five values for each node's newest
-- version: node, digest, rank (0 is the best quality), trades, text. Of versions with one digest one has the text.

local function count(record)
  return (#record - 3) / 5
end

local function find(record, node)
  for at = 1, count(record) do
    if record[at * 5 - 1] == node then return at end
  end
end

local function digest(record, at)
  return record[at * 5]
end

-- Returns another version with the digest of a version.
local function twin(record, at, digest_of)
  for other = 1, count(record) do
    if other ~= at and digest(record, other) == digest_of then return other end
  end
end

local function body(record, at)
  for other = 1, count(record) do
    local text_of = record[other * 5 + 3]
    if text_of ~= '' and digest(record, other) == digest(record, at) then return text_of end
  end
end

-- Gives the text of a version that is about to go to another one with its digest.
local function hand_on(record, at)
  local own = record[at * 5 + 3]
  local other = own and own ~= '' and twin(record, at, digest(record, at))
  if other then record[other * 5 + 3] = own end
end

local function put(record, node, version)
  local at = find(record, node)
  if not at and count(record) >= MAX_VERSIONS then
    local forgotten = record[3] == 1 and 2 or 1
    hand_on(record, forgotten)
    for _ = 1, 5 do table.remove(record, forgotten * 5 - 1) end
    if record[3] > forgotten then record[3] = record[3] - 1 end
  end
  at = at or count(record) + 1
  hand_on(record, at)
  local from = at * 5 - 1
  record[from], record[from + 1], record[from + 2], record[from + 3] = node, version.digest, version.rank, version.trades
  record[from + 4] = twin(record, at, version.digest) and '' or version.body
  return at
end

-- Whether one version is better than another.
local function is_better(record, one, other)
  local rank, other_rank = record[one * 5 + 1], record[other * 5 + 1]
  if rank ~= other_rank then return rank < other_rank end
  return is_less(record[other * 5 + 2], record[one * 5 + 2])
end

-- Whether another node has a better version than the one that a node sends.
local function has_better(record, node, version)
  for at = 1, count(record) do
    local rank = record[at * 5 + 1]
    local is_more = rank == version.rank and is_less(version.trades, record[at * 5 + 2])
    if record[at * 5 - 1] ~= node and (rank < version.rank or is_more) then return true end
  end
  return false
end

-- Takes the newest version of a node. Returns whether another one is published now.
local function offer(record, node, version)
  local before = digest(record, record[3])
  put(record, node, version)
  for at = 1, count(record) do
    if is_better(record, at, record[3]) then record[3] = at end
  end
  return digest(record, record[3]) ~= before
end

local function is_conflict(record, node)
  local own = find(record, node)
  if not own or is_better(record, record[3], own) or is_better(record, own, record[3]) then return false end
  for at = 1, count(record) do
    local is_equal = not is_better(record, at, own) and not is_better(record, own, at)
    if is_equal and digest(record, at) ~= digest(record, own) then return true end
  end
  return false
end

