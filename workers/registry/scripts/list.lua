-- Reads a part of the list of all bans and mutes, and removes from it what is over.
--
-- KEYS[1]  sanctions  hash as in sanction.lua
-- ARGV[1]  cursor: "0", or what was returned before
-- ARGV[2]  about how many
--
-- Returns {cursor, sanction, value, sanction, value, …}; the cursor "0" says that this was the last part.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local answer, all = { found[1] }, found[2]
for at = 1, #all, 2 do
  local ends = tonumber(string.match(all[at + 1], '^%d+'))
  if ends > 0 and ends <= now then
    redis.call('HDEL', KEYS[1], all[at])
  else
    answer[#answer + 1] = all[at]
    answer[#answer + 1] = all[at + 1]
  end
end
return answer
