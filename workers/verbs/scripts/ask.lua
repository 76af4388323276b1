-- Publishes a question for all workers, and returns those that will answer.
--
-- KEYS[1]  listeners  sorted set: worker -> until when, ms
-- ARGV[1]  the channel
-- ARGV[2]  the note; empty: only look who hears

local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
if ARGV[2] ~= '' then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%.0f', ms), '+inf')
