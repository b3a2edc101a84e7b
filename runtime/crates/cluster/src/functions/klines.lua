#!lua name=klines_v1
-- What a cluster of klines decides in Redis: who is a member, who may write or consume a partition, which version of a
-- kline is published, and with which revision and sequence. Redis 7.0 or later, or Valkey.
--
-- The name of the library and of each function has the version, so that those of two versions are loaded side by side.
-- This file has what all functions use; the others of this folder follow it, in the order of `library/source.rs`.
-- The crate klines-cluster has the same rules in Rust (`model`), and compares them with these functions.
--
-- All keys come in KEYS and have one hash tag. Every argument is checked before the first write, and all writes come
-- last: a call that is refused has changed nothing but what had expired. Lua has only doubles, which hold integers up to
-- 2^53 exactly: numbers with which these functions calculate have at most 15 digits, and numbers of trades, which may
-- have more, are compared as text.

local LIBRARY = 'klines_v1'

local MAX_NUMBER = 999999999999999
local MAX_REVISION = 4294967295
local REVISION_STEP = 1000
local MAX_LEASE = 30000
local MAX_MEMBERS, MAX_HOLDERS, MAX_GROUPS, MAX_SERIES = 1024, 16, 256, 65536
local MAX_KLINES, MAX_BUCKETS, MAX_VERSIONS, MAX_STREAM = 512, 64, 8, 1000000
local MAX_TRIMMED = 10000
local MAX_ABOUT = 4096
local MAX_FIELDS, MAX_FIELD, MAX_VALUE = 65536, 512, 67108864
-- Windows that end later than this after the clock of Redis are refused.
local MAX_AHEAD = 120000

local LENGTH = {short = 60000, long = 3600000}
local RETENTION = {short = 600000, long = 86400000}

local CLUSTER = '{klines:[%w._-]+}'
local PARTITION = '{klines:[%w._-]+:%d+}'

-- Ends the call with an error that begins with a code.
local function refuse(code, text)
  error({refused = code .. ' ' .. text}, 0)
end

local function define(name, flags, body)
  redis.register_function{
    function_name = LIBRARY .. '_' .. name,
    flags = flags,
    callback = function(keys, args)
      local done, answer = pcall(body, keys, args)
      if done then return answer end
      if type(answer) == 'table' and answer.refused then return redis.error_reply(answer.refused) end
      error(answer, 0)
    end,
  }
end

-- Returns an integer as text. `tostring` would use an exponent.
local function text(number)
  return string.format('%.0f', number)
end

-- Returns the milliseconds since 1970 by the clock of Redis, which alone decides when a lease is over.
local function clock()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Checks that the first keys are those of one cluster or partition, in order. Returns what they have in common.
local function check_keys(keys, pattern, names)
  local base = string.match(keys[1] or '', '^(' .. pattern .. '):' .. names[1] .. '$')
  if not base then refuse('ARGUMENT', 'key 1: expected ' .. pattern .. ':' .. names[1]) end
  for at, name in ipairs(names) do
    if keys[at] ~= base .. ':' .. name then refuse('ARGUMENT', 'key ' .. at .. ': expected ' .. base .. ':' .. name) end
  end
  return base
end

local function exactly(keys, pattern, names)
  if #keys ~= #names then refuse('ARGUMENT', 'expected ' .. #names .. ' keys') end
  check_keys(keys, pattern, names)
end

-- The arguments of a call, read in order.
local Reader = {}
Reader.__index = Reader

local function reader(args)
  return setmetatable({args = args, at = 0}, Reader)
end

function Reader:match(what, pattern, most)
  self.at = self.at + 1
  local value = self.args[self.at]
  if not value or #value > most or not string.match(value, pattern) then
    refuse('ARGUMENT', 'argument ' .. self.at .. ' is no ' .. what)
  end
  return value
end

function Reader:bytes(what, most)
  self.at = self.at + 1
  local value = self.args[self.at]
  if not value or #value > most then refuse('ARGUMENT', 'argument ' .. self.at .. ' is no ' .. what) end
  return value
end

function Reader:number(what, low, high)
  local value = tonumber(self:match(what, '^%d+$', 15))
  if value < low or value > high then
    refuse('ARGUMENT', 'argument ' .. self.at .. ': ' .. what .. ' is not ' .. text(low) .. ' to ' .. text(high))
  end
  return value
end

function Reader:name(what)
  return self:match(what, '^[%w._-]+$', 64)
end

function Reader:caller()
  return {name = self:name('name of a node'), instance = self:match('instance', '^' .. string.rep('%x', 16) .. '$', 16)}
end

function Reader:lease()
  return self:number('lease in ms', 1, MAX_LEASE)
end

function Reader:replication()
  return self:match('replication id', '^%w+$', 64)
end

function Reader:id()
  return self:match('id of an entry', '^%d+-%d+$', 41)
end

function Reader:finish()
  if self.at ~= #self.args then refuse('ARGUMENT', 'expected ' .. self.at .. ' arguments') end
end

-- Whether one number, written without leading zeros, is less than another. Both may exceed 2^53.
local function is_less(one, other)
  if #one ~= #other then return #one < #other end
  return one < other
end

local function is_earlier(one, other)
  local millis, number = string.match(one, '^(%d+)-(%d+)$')
  local other_millis, other_number = string.match(other, '^(%d+)-(%d+)$')
  if millis ~= other_millis then return is_less(millis, other_millis) end
  return is_less(number, other_number)
end

