-- Takes what a dead incarnation had in a room out of it, and keeps the dead one from writing there again.
-- uses room.lua
--
-- ARGV[4]  users at most in one call: the store serves nobody else meanwhile
--
-- Returns {1, version, count of users} when nothing is left, {2, …} when it has to be called again.

local more, taken = false, 0
local cursor = '0'
repeat
  local page = redis.call('HSCAN', KEYS[4], cursor, 'COUNT', ARGV[4])
  cursor = page[1]
  for at = 1, #page[2], 2 do
    local user, count = page[2][at], tonumber(page[2][at + 1])
    if user ~= SEQ and user ~= DEAD and redis.call('HDEL', KEYS[4], user) == 1 then
      add(user, -count)
      taken = taken + 1
    end
  end
  more = cursor ~= '0'
until not more or taken >= tonumber(ARGV[4])

redis.call('HSET', KEYS[4], DEAD, '1')
redis.call('EXPIRE', KEYS[4], FORGET)
local answer = tell()
if more then answer[1] = 2 end
return answer
