-- Keeps who is mentioned by a message, for those who read the room later.
--
-- KEYS[1]   meta      hash of the room's log
-- KEYS[2]   mentions  hash: user, or @room for everybody -> "<log id> <offset> <offset> …", the newest MOST of them
-- ARGV[1]   offset of the message
-- ARGV[2]   ttl, seconds
-- ARGV[3…]  users, and @room
--
-- Returns 1. A second call for the same message changes nothing. Where more than USERS are waited for, some are forgotten.

local MOST, USERS = 50, 10000

local id = redis.call('HGET', KEYS[1], 'id')
if not id then return 0 end

local function with_offset(kept)
  local log, offsets = string.match(kept or '', '^(%S+)(.*)$')
  local found = {}
  if log == id then
    for offset in string.gmatch(offsets, '%d+') do
      if offset ~= ARGV[1] then found[#found + 1] = tonumber(offset) end
    end
  end
  found[#found + 1] = tonumber(ARGV[1])
  table.sort(found)
  local texts = { id }
  for at = math.max(1, #found - MOST + 1), #found do texts[#texts + 1] = string.format('%.0f', found[at]) end
  return table.concat(texts, ' ')
end

for at = 3, #ARGV do
  redis.call('HSET', KEYS[2], ARGV[at], with_offset(redis.call('HGET', KEYS[2], ARGV[at])))
end
local excess = redis.call('HLEN', KEYS[2]) - USERS
if excess > 0 then redis.call('HDEL', KEYS[2], unpack(redis.call('HRANDFIELD', KEYS[2], math.min(excess, 1000)))) end
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1
