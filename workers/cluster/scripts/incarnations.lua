-- Owns the clock of the scripts about incarnations, which all have in one slot
--   KEYS[1] leases  sorted set: incarnation -> until when it counts as alive, ms of the store's clock
--   KEYS[2] dead    sorted set: incarnation that is being reaped -> when another worker may take that over
--   KEYS[3] rooms   hash of one incarnation: room -> number of its claim
-- An incarnation in none of the first two never was, or is gone for good.

local function text(number) return string.format('%.0f', number) end

local function now_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end
