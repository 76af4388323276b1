-- Keep a browser's subscription of a user; of too many the oldest goes.
--
-- KEYS[1]  push  hash: by name, the time in ms, a space, and the subscription as JSON
-- ARGV[1]  name
-- ARGV[2]  value
-- ARGV[3]  the most subscriptions
-- ARGV[4]  seconds until all are forgotten
--
-- Returns how many there are.

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[4])
while redis.call('HLEN', KEYS[1]) > tonumber(ARGV[3]) do
  local oldest, at
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    local time = tonumber(string.match(all[i + 1], '^%d+')) or 0
    if not at or time < at then oldest, at = all[i], time end
  end
  redis.call('HDEL', KEYS[1], oldest)
end
return redis.call('HLEN', KEYS[1])
