-- Counts connections of a user, of an address or of all, as many as the limit allows, and reads what is known of them.
--
-- KEYS[1]  counts     hash: incarnation -> its connections, absolute
-- KEYS[2]  sanctions  hash as in sanction.lua
-- ARGV[1]  incarnation
-- ARGV[2]  its connections without those that are asked for; "": do not count
-- ARGV[3]  limit over all incarnations; 0: none
-- ARGV[4]  seconds that the counts are kept without being written again
-- ARGV[5]  connections that are asked for
-- ARGV[6]  how many incarnations follow that are alive; after them those that are known to be dead
--
-- Returns {1, granted, sanction, value, sanction, value, …}; {2, incarnation, …} where some are neither known to be alive
-- nor dead: nothing was done.

local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)

local limit, granted = tonumber(ARGV[3]), tonumber(ARGV[5])
if ARGV[2] ~= '' and limit > 0 then
  local known, total, unknown = {}, tonumber(ARGV[2]), { 2 }
  for at = 7, #ARGV do known[ARGV[at]] = at < 7 + ARGV[6] and 'alive' or 'dead' end
  local counts = redis.call('HGETALL', KEYS[1])
  for at = 1, #counts, 2 do
    local one = counts[at]
    if one == ARGV[1] then -- replaced by ARGV[2]
    elseif known[one] == 'alive' then
      total = total + counts[at + 1]
    elseif known[one] == 'dead' then
      redis.call('HDEL', KEYS[1], one)
    else
      unknown[#unknown + 1] = one
    end
  end
  if #unknown > 1 then return unknown end
  granted = math.max(0, math.min(granted, limit - total))
end
if ARGV[2] ~= '' and granted > 0 then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] + granted)
  redis.call('EXPIRE', KEYS[1], ARGV[4])
end

local answer = { 1, granted }
local sanctions = redis.call('HGETALL', KEYS[2])
for at = 1, #sanctions, 2 do
  if string.sub(sanctions[at], 1, 1) ~= '!' then
    local ends = tonumber(string.match(sanctions[at + 1], '^%d+'))
    if ends > 0 and ends <= now then
      redis.call('HDEL', KEYS[2], sanctions[at])
    else
      answer[#answer + 1] = sanctions[at]
      answer[#answer + 1] = sanctions[at + 1]
    end
  end
end
return answer
