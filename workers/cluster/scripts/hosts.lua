-- Owns the clock and the words of the scripts about hosts, which all have the same keys, in one slot:
--   KEYS[1] leases   sorted set: host -> until when the host counts as present, ms of the store's clock
--   KEYS[2] records  hash: host -> what the host says of itself, JSON
--   KEYS[3] orders   hash: host -> "ms of the store's clock when it was ordered, a space, the order as JSON"
--   KEYS[4] masters  hash: host -> the master that renewed the lease last

local function text(number) return string.format('%.0f', number) end

local function now_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

local function forget(host)
  redis.call('ZREM', KEYS[1], host)
  for place = 2, 4 do redis.call('HDEL', KEYS[place], host) end
end
