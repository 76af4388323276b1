-- Reads who is in a room.
--
-- KEYS[1]  presence  hash, see room.lua
-- KEYS[2]  users     hash, see room.lua
-- KEYS[3]  names     hash, see room.lua
-- ARGV[1]  users at most; 0: only the count
--
-- Returns {version, count of users, user, connections, name, user, connections, name, …}.

local limit, taken = tonumber(ARGV[1]), 0
local version = redis.call('HGET', KEYS[1], 'version') or '0'
local answer = { version, redis.call('HLEN', KEYS[2]) }
local cursor, seen = '0', {}
while taken < limit do
  local page = redis.call('HSCAN', KEYS[2], cursor, 'COUNT', limit)
  cursor = page[1]
  for at = 1, #page[2], 2 do
    local user = page[2][at]
    if taken < limit and not seen[user] then -- HSCAN may show one twice
      seen[user], taken = true, taken + 1
      local n = #answer
      answer[n + 1], answer[n + 2] = user, page[2][at + 1]
      answer[n + 3] = redis.call('HGET', KEYS[3], user) or ''
    end
  end
  if cursor == '0' then break end
end
return answer
