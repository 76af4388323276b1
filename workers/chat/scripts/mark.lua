-- Keeps how far a user has read in a room: never back, never beyond the top.
--
-- KEYS     as in look.lua
-- ARGV[1]  user
-- ARGV[2]  offset
-- ARGV[3]  ttl, seconds
--
-- Returns {offset, 1 if it moved}.

local SCANNED = 2000 -- entries between the offset and the top that are looked at for changes

local meta = redis.call('HMGET', KEYS[1], 'id', 'top', 'changes')
if not meta[1] then return { 0, 0 } end
local top = tonumber(meta[2])
local offset = math.min(tonumber(ARGV[2]), top)
local mark = redis.call('HGET', KEYS[3], ARGV[1])
if mark then
  local id, at = string.match(mark, '^(%S+) (%d+) ')
  if id == meta[1] and tonumber(at) >= offset then return { tonumber(at), 0 } end
end

-- How many changes there were up to the offset: all of them, less those after it.
local changes = tonumber(meta[3] or '0')
if offset < top and changes > 0 then
  local after = redis.call('XRANGE', KEYS[2], string.format('%.0f', offset + 1), '+', 'COUNT', SCANNED)
  for _, entry in ipairs(after) do
    local envelope = entry[2][4]
    local head = string.find(envelope, '\n', 1, true)
    if head and string.sub(envelope, head - 2, head - 1) ~= ' -' then changes = changes - 1 end
  end
end

redis.call('HSET', KEYS[3], ARGV[1], meta[1] .. ' ' .. string.format('%.0f %.0f', offset, math.max(0, changes)))
redis.call('EXPIRE', KEYS[3], ARGV[3])
return { offset, 1 }
