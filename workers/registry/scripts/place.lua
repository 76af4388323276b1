-- Writes a user's ban or mute where else it is to be found: under an address, or in the list of all. Or takes it away.
--
-- KEYS[1]  sanctions  hash as in sanction.lua
-- ARGV[1]  "<verb> <room> <user>"
-- ARGV[2]  its `at`: what was written later stays
-- ARGV[3]  the value as in sanction.lua; "": take it away
-- ARGV[4]  when the whole may be forgotten, ms; 0: never; it is never forgotten earlier than was said before
--
-- Returns 1 where it was done.

local before = redis.call('HGET', KEYS[1], ARGV[1])
if before and tonumber(string.match(before, '^%d+ (%d+)')) > tonumber(ARGV[2]) then return 0 end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return 1
end
local first = redis.call('EXISTS', KEYS[1]) == 0
local ends, known = tonumber(ARGV[4]), redis.call('PTTL', KEYS[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
if ends == 0 then
  redis.call('PERSIST', KEYS[1])
elseif first or known >= 0 then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  if first or ends > now + known then redis.call('PEXPIREAT', KEYS[1], ARGV[4]) end
end
return 1
