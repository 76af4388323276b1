-- Says how many connections of a user, of an address or of all one incarnation has: an absolute value.
--
-- KEYS[1]  counts  hash: incarnation -> its connections
-- ARGV[1]  incarnation
-- ARGV[2]  its connections
-- ARGV[3]  seconds that the counts are kept without being written again
-- ARGV[4]  optional: an incarnation that a connection was taken over from
-- ARGV[5]  … and the most that it can have left; it only gives away, so what is lower is newer
--
-- Returns 1.

if tonumber(ARGV[2]) > 0 then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
if ARGV[4] then
  local count, left = tonumber(redis.call('HGET', KEYS[1], ARGV[4]) or 0), tonumber(ARGV[5])
  if left <= 0 then
    redis.call('HDEL', KEYS[1], ARGV[4])
  elseif count > left then
    redis.call('HSET', KEYS[1], ARGV[4], ARGV[5])
  end
end
return 1
