-- Lists the hosts.
-- uses hosts.lua
--
-- Returns {now in ms, {host, until when it counts as present in ms, record, order or ""} for each}.

local found = { text(now_ms()) }
local rows = {}
local leases = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for place = 1, #leases, 2 do
  local host = leases[place]
  rows[#rows + 1] = {
    host, leases[place + 1], redis.call('HGET', KEYS[2], host) or '{}', redis.call('HGET', KEYS[3], host) or '',
  }
end
found[2] = rows
return found
