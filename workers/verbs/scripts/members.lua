-- Reads a page of the users in a room.
--
-- KEYS[1]  users  hash: user -> connections
-- KEYS[2]  names  hash: user -> name
-- ARGV[1]  a cursor of HSCAN; ARGV[2] about how many
--
-- Returns {the next cursor, count of users, user, connections, name, …}.

local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local answer = { page[1], redis.call('HLEN', KEYS[1]) }
for at = 1, #page[2], 2 do
  local n = #answer
  answer[n + 1], answer[n + 2] = page[2][at], page[2][at + 1]
  answer[n + 3] = redis.call('HGET', KEYS[2], page[2][at]) or ''
end
return answer
