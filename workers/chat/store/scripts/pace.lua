-- Slow mode: one message of a user, or of an address's guests, in a room within an interval; a retry with the same key
-- is no second one.
--
-- KEYS[1]  pace  string: the key of the message that began the interval
-- ARGV[1]  user and idempotency key of this message, "" for none
-- ARGV[2]  interval, ms
--
-- Returns 0, or for how many ms the user has to wait.

local key = redis.call('GET', KEYS[1])
if not key then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 0
end
if key ~= '' and key == ARGV[1] then return 0 end
return math.max(1, redis.call('PTTL', KEYS[1]))
