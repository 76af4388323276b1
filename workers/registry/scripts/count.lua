-- Says how many connections of users, of addresses or of all one incarnation has: absolute values.
--
-- KEYS[n]  counts  hash: incarnation -> its connections
-- ARGV[1]  incarnation
-- ARGV[2]  seconds that the counts are kept without being written again
-- and for each of KEYS
--   its connections
--   an incarnation that a connection was taken over from, or ""
--   ... and the most that it can have left; it only gives away, so what is lower is newer
--
-- Returns 1.

for at, key in ipairs(KEYS) do
  local connections, giver, left = ARGV[3 * at], ARGV[3 * at + 1], ARGV[3 * at + 2]
  if tonumber(connections) > 0 then
    redis.call('HSET', key, ARGV[1], connections)
    redis.call('EXPIRE', key, ARGV[2])
  else
    redis.call('HDEL', key, ARGV[1])
  end
  if giver ~= '' then
    local count = tonumber(redis.call('HGET', key, giver) or 0)
    if tonumber(left) <= 0 then
      redis.call('HDEL', key, giver)
    elseif count > tonumber(left) then
      redis.call('HSET', key, giver, left)
    end
  end
end
return 1
