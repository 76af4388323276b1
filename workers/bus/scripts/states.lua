-- Says how the logs of many rooms are, as long as none of them has to be written to.
--
-- KEYS[2n - 1]  meta    see log.lua
-- KEYS[2n]      log     stream
-- ARGV[n]       history ttl of that room, seconds
--
-- Returns for each room the head of read.lua's answer {epoch, top, first, reigns}; or 0 where there is no log yet, or
-- none of the present reign: read.lua writes it down.

local info = redis.call('INFO', 'replication')
local _, stop = string.find(info, 'master_replid:', 1, true)
local reign = string.sub(info, stop + 1, stop + 8)
local answer = {}

for at = 1, #KEYS, 2 do
  local room = (at + 1) / 2
  local meta = redis.call('HMGET', KEYS[at], 'id', 'top', 'reign', 'reigns')
  if meta[1] and meta[3] == reign then
    local ttl = tonumber(ARGV[room])
    if redis.call('TTL', KEYS[at]) < 2 * ttl then redis.call('EXPIRE', KEYS[at], 4 * ttl) end
    local top = tonumber(meta[2])
    local first = string.format('%.0f', top + 1)
    if top > 0 then
      local oldest = redis.call('XRANGE', KEYS[at + 1], '-', '+', 'COUNT', 1)[1]
      if oldest then first = string.match(oldest[1], '^%d+') end
    end
    answer[room] = { meta[1] .. reign, meta[2], first, meta[4] }
  else
    answer[room] = 0
  end
end
return answer
