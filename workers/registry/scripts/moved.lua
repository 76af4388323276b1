-- Counts connections that moved from one incarnation to another: absolute values, for many subjects at once.
--
-- KEYS[n]  counts  hash: incarnation -> its connections
-- ARGV[1]  incarnation that has them now
-- ARGV[2]  seconds that the counts are kept without being written again
-- ARGV[…]  three for each key: its connections; the incarnation that one of them was taken over from; the most that that
--          one can have left: it only gives away, so what is lower is newer
--
-- Returns 1.

for at, key in ipairs(KEYS) do
  local count, giver, left = ARGV[3 * at], ARGV[3 * at + 1], tonumber(ARGV[3 * at + 2])
  if tonumber(count) > 0 then
    redis.call('HSET', key, ARGV[1], count)
    redis.call('EXPIRE', key, ARGV[2])
  else
    redis.call('HDEL', key, ARGV[1])
  end
  if left <= 0 then
    redis.call('HDEL', key, giver)
  else
    local has = tonumber(redis.call('HGET', key, giver) or 0)
    if has > left then redis.call('HSET', key, giver, left) end
  end
end
return 1
