-- Adds, removes or lists API keys.
--
-- KEYS[1]  api keys  hash: id -> record
-- KEYS[2]  used      hash: id -> when it was last used, ms
-- ARGV[1]  add, remove or list
-- ARGV[2]  the id; ARGV[3] the record
--
-- Returns how many were added or removed, or {id, record, used, id, record, used, …}.

if ARGV[1] == 'add' then return redis.call('HSETNX', KEYS[1], ARGV[2], ARGV[3]) end
if ARGV[1] == 'remove' then
  redis.call('HDEL', KEYS[2], ARGV[2])
  return redis.call('HDEL', KEYS[1], ARGV[2])
end
local listed = {}
local found = redis.call('HGETALL', KEYS[1])
for at = 1, #found, 2 do
  local n = #listed
  listed[n + 1], listed[n + 2] = found[at], found[at + 1]
  listed[n + 3] = redis.call('HGET', KEYS[2], found[at]) or '0'
end
return listed
