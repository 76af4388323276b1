-- Owns where the read position of a user lies. Those of guests, of whom there may be any number, are forgotten after a
-- while: they lie in the younger of two hashes, and when that has been written to for the guests' ttl, the older one is
-- emptied and becomes the younger. So a position is kept for the ttl at least, and for twice as long at most.
--   KEYS[5]            marks   hash: user -> position
--   KEYS[7], KEYS[8]   guests  two hashes: "!from" -> when the first of it was written, ms; guest -> position

local GUESTS = 10000 -- of one hash; of more some are forgotten

local function mark_of(user, is_guest)
  if not is_guest then return redis.call('HGET', KEYS[5], user) end
  local one, other = redis.call('HMGET', KEYS[7], '!from', user), redis.call('HMGET', KEYS[8], '!from', user)
  if tonumber(other[1] or -1) > tonumber(one[1] or -1) then one, other = other, one end
  return one[2] or other[2]
end

-- `guest_ttl` in seconds; nil: no guest.
local function keep_mark(user, value, ttl, guest_ttl)
  if not guest_ttl then
    redis.call('HSET', KEYS[5], user, value)
    redis.call('EXPIRE', KEYS[5], ttl)
    return
  end
  local now = redis.call('TIME')[1] * 1000
  local young, old = KEYS[7], KEYS[8]
  local from, other = tonumber(redis.call('HGET', young, '!from') or -1), tonumber(redis.call('HGET', old, '!from') or -1)
  if other > from then young, old, from = old, young, other end
  if from < 0 or now - from >= guest_ttl * 1000 then
    redis.call('DEL', old)
    redis.call('HSET', old, '!from', string.format('%.0f', now), user, value)
    redis.call('EXPIRE', old, 2 * guest_ttl)
    return
  end
  redis.call('HSET', young, user, value)
  local excess = redis.call('HLEN', young) - 1 - GUESTS
  if excess > 0 then
    for _, field in ipairs(redis.call('HRANDFIELD', young, excess + 100)) do
      if field ~= '!from' and field ~= user then redis.call('HDEL', young, field) end
    end
  end
end
