-- Reads the bans and mutes of a user or an address.
--
-- KEYS[1]  sanctions  hash as in sanction.lua
--
-- Returns {now, sanction, value, sanction, value, …}, now in ms of the store's clock.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = { string.format('%.0f', now) }
local all = redis.call('HGETALL', KEYS[1])
for at = 1, #all, 2 do
  if string.sub(all[at], 1, 1) ~= '!' then
    answer[#answer + 1] = all[at]
    answer[#answer + 1] = all[at + 1]
  end
end
return answer
