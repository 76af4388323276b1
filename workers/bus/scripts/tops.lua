-- Compares what a worker knows of many rooms' logs with what they are; nothing is written.
-- uses log.lua
--
-- KEYS      meta of each room
-- ARGV[2n - 1]  "<epoch> <top>" as the worker knows them for the room KEYS[n]
-- ARGV[2n]      history ttl, seconds
--
-- Returns the numbers of the rooms that are to be looked at: their logs are not like that, are gone, or have to be kept
-- for longer.

local reign = present_reign()
local answer = {}
for at, key in ipairs(KEYS) do
  local meta = redis.call('HMGET', key, 'id', 'top', 'reign', 'alias')
  local same = meta[3] == reign and meta[1] .. (meta[4] or reign) .. ' ' .. meta[2] == ARGV[2 * at - 1]
  local life = same and life_of(tonumber(meta[2]), tonumber(ARGV[2 * at]))
  if not same or redis.call('TTL', key) < life / 2 then answer[#answer + 1] = at end
end
return answer
