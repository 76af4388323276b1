-- Reads a room's state and a page of its log at one moment. Who reads changes, too, follows the room: then the log's
-- identity is created where there is none.
-- uses log.lua
-- uses state.lua
--
-- ARGV[1]  seed of a new log's id
-- ARGV[2]  history ttl, seconds
-- ARGV[3]  "after" or "before"
-- ARGV[4]  the offset after, or before, which the page lies
-- ARGV[5]  entries at most (0: only the state)
-- ARGV[6]  bytes of envelopes at most; one entry comes in any case
-- ARGV[7]  "1": also the entries that change messages; "0" (and always for "before"): messages alone
--
-- Returns {epoch, top, first, reigns, dropped, more, changes, offset, time, envelope, offset, time, envelope, ...}: oldest first
-- for "after", newest first for "before". `first` is the lowest offset that can be read, top + 1 where none can; up to `dropped`
-- messages may be missing after that. `more`
-- says whether entries are left beyond the page. `changes` is {field, value, ...} of what the overlay says about these
-- messages; see amend.lua.

local log = open_log(ARGV[1])
local state = state_of(log, KEYS[2], KEYS[3], KEYS[4], tonumber(ARGV[2]), ARGV[7] == '1')
if state.err then return state end
local first = state.first
local answer = { log.epoch, text(log.top), text(first), state.reigns, state.dropped, 0, {} }

local backward = ARGV[3] == 'before'
local edge, limit, room = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if not backward then edge = math.max(edge, first - 1) end -- what older changes changed is gone
local taken, told = 0, {}

-- A stream from the edge on, in small steps, so that large entries beyond the page are not even looked at.
local function source(stream) return { stream = stream, edge = edge, entries = {}, at = 1, ended = false } end

local function range(one, count)
  if not backward then return redis.call('XRANGE', one.stream, text(one.edge + 1), '+', 'COUNT', count) end
  if one.edge <= 1 then return {} end
  return redis.call('XREVRANGE', one.stream, text(one.edge - 1), '-', 'COUNT', count)
end

local function peek(one)
  if one.at > #one.entries and not one.ended then
    local count = math.max(1, math.min(32, limit - taken))
    one.entries, one.at = range(one, count), 1
    one.ended = #one.entries < count
    if #one.entries > 0 then one.edge = offset_of(one.entries[#one.entries]) end
  end
  return one.entries[one.at]
end

local messages = source(KEYS[2])
local changes = not backward and ARGV[7] == '1' and source(KEYS[4]) or nil

-- The next entry of both, and where it comes from.
local function next_entry()
  local message, change = peek(messages), changes and peek(changes)
  if change and (not message or offset_of(change) < offset_of(message)) then return change, changes end
  return message, messages
end

while taken < limit and room > 0 do
  local entry, from = next_entry()
  if not entry then break end
  local time, envelope = entry[2][2], entry[2][4]
  room = room - #envelope
  if room < 0 and taken > 0 then break end -- what the page has no room for is still to come
  from.at, taken = from.at + 1, taken + 1
  local at, offset = #answer, text(offset_of(entry))
  answer[at + 1], answer[at + 2], answer[at + 3] = offset, time, envelope
  if from == messages then told[#told + 1] = offset end
end
if next_entry() then answer[6] = 1 end

local function overlay_of(offsets)
  local fields, found = {}, {}
  for _, offset in ipairs(offsets) do
    for _, kind in ipairs({ 'e', 'd', 'r' }) do fields[#fields + 1] = offset .. kind end
  end
  for at, value in ipairs(redis.call('HMGET', KEYS[3], unpack(fields))) do
    if value then
      found[#found + 1] = fields[at]
      found[#found + 1] = value
    end
  end
  return found
end
if #told > 0 and redis.call('EXISTS', KEYS[3]) == 1 then answer[7] = overlay_of(told) end
return answer
