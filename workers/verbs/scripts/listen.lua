-- Says that a worker hears calls from now on, or no longer.
--
-- KEYS[1]  listeners  sorted set: worker -> until when, ms
-- ARGV[1]  the worker
-- ARGV[2]  for how long, ms; 0: no longer

local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', ms))
if ARGV[2] == '0' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], string.format('%.0f', ms + ARGV[2]), ARGV[1])
end
return 1
