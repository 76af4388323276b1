-- Reads a room's state and a page of its log at one moment; creates the log's identity where there is none.
-- uses log.lua
-- uses state.lua
--
-- ARGV[1]  seed of a new log's id
-- ARGV[2]  history ttl, seconds
-- ARGV[3]  "after" or "before"
-- ARGV[4]  the offset after, or before, which the page lies
-- ARGV[5]  entries at most (0: only the state)
-- ARGV[6]  bytes of envelopes at most; one entry comes in any case
--
-- Returns {epoch, top, first, reigns, more, changes, offset, time, envelope, offset, time, envelope, ...}: oldest first
-- for "after", newest first for "before". `first` is the lowest offset that can be read, top + 1 where none can.
-- `changes` is {field, value, ...} of what the overlay says about these entries; see amend.lua.

local log = open_log(ARGV[1])
local state = state_of(log, KEYS[2], KEYS[3], tonumber(ARGV[2]))
if state.err then return state end
local first = state.first
local answer = { log.epoch, text(log.top), text(first), state.reigns, 0, {} }

local backward = ARGV[3] == 'before'
local edge, limit, room = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local taken, exhausted = 0, false

local function range(count)
  if backward then
    if edge <= 1 then return {} end
    return redis.call('XREVRANGE', KEYS[2], text(edge - 1), '-', 'COUNT', count)
  end
  return redis.call('XRANGE', KEYS[2], text(edge + 1), '+', 'COUNT', count)
end

-- In small steps, so that large entries beyond the page are not even looked at.
while taken < limit and room > 0 do
  local step = math.min(32, limit - taken)
  local entries, full = range(step), false
  for _, entry in ipairs(entries) do
    local time, envelope = entry[2][2], entry[2][4]
    room = room - #envelope
    if room < 0 and taken > 0 then
      full = true -- what the page has no room for is still to come
      break
    end
    edge, taken = offset_of(entry), taken + 1
    local at = #answer
    answer[at + 1], answer[at + 2], answer[at + 3] = text(edge), time, envelope
  end
  if full then break end
  if #entries < step then
    exhausted = true
    break
  end
end

local function changes()
  local fields, told = {}, {}
  for at = 7, #answer, 3 do
    for _, kind in ipairs({ 'e', 'd', 'r' }) do fields[#fields + 1] = answer[at] .. kind end
  end
  for at, value in ipairs(redis.call('HMGET', KEYS[3], unpack(fields))) do
    if value then
      told[#told + 1] = fields[at]
      told[#told + 1] = value
    end
  end
  return told
end
if taken > 0 and redis.call('EXISTS', KEYS[3]) == 1 then answer[6] = changes() end

if backward then
  if edge > first and not exhausted then answer[5] = 1 end
elseif edge < log.top and not exhausted then
  answer[5] = 1
end
return answer
