-- Keeps how far a user has read in a room: never back, never beyond the top.
-- uses marks.lua
--
-- KEYS     as in look.lua
-- ARGV[1]  user
-- ARGV[2]  offset
-- ARGV[3]  ttl, seconds
-- ARGV[4]  ttl of a guest's position, seconds; "": the user is no guest
--
-- Returns {offset, 1 if it moved}.

local SCANNED = 2000 -- changes after the offset that are counted

local meta = redis.call('HMGET', KEYS[1], 'id', 'top', 'changes')
if not meta[1] then return { 0, 0 } end
local top = tonumber(meta[2])
local offset = math.min(tonumber(ARGV[2]), top)
local guest_ttl = tonumber(ARGV[4])
local mark = mark_of(ARGV[1], guest_ttl)
if mark then
  local id, at = string.match(mark, '^(%S+) (%d+) ')
  if id == meta[1] and tonumber(at) >= offset then return { tonumber(at), 0 } end
end

-- How many changes there were up to the offset: all of them, less those after it.
local changes = tonumber(meta[3] or '0')
if offset < top and changes > 0 then
  changes = changes - #redis.call('XRANGE', KEYS[4], string.format('%.0f', offset + 1), '+', 'COUNT', SCANNED)
end

-- Mentions up to the offset are read.
local kept = redis.call('HGET', KEYS[6], ARGV[1])
if kept then
  local id, left = string.match(kept, '^%S+'), {}
  for place in string.gmatch(kept, ' (%d+)') do
    if tonumber(place) > offset then left[#left + 1] = place end
  end
  if id == meta[1] and #left > 0 then
    redis.call('HSET', KEYS[6], ARGV[1], id .. ' ' .. table.concat(left, ' '))
  else
    redis.call('HDEL', KEYS[6], ARGV[1])
  end
end

local position = meta[1] .. ' ' .. string.format('%.0f %.0f', offset, math.max(0, changes))
keep_mark(ARGV[1], position, ARGV[3], guest_ttl)
return { offset, 1 }
