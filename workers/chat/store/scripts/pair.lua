-- Notes where the sender's copy of a direct message lies, so that a reaction to the one reaches the other.
--
-- KEYS[1]  copies  hash of an inbox: offset -> offset in the sender's inbox
-- ARGV[1]  offset in this inbox
-- ARGV[2]  offset in the sender's
-- ARGV[3]  how many are kept, about
-- ARGV[4]  ttl, seconds

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
local most, here = tonumber(ARGV[3]), tonumber(ARGV[1])
if redis.call('HLEN', KEYS[1]) > 2 * most then
  for _, offset in ipairs(redis.call('HKEYS', KEYS[1])) do
    if tonumber(offset) <= here - most then redis.call('HDEL', KEYS[1], offset) end
  end
end
return 1
