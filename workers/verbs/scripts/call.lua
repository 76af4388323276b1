-- Leaves a call for one of the workers, of which the first that comes takes it. A call that is left already stays.
--
-- KEYS[1]  listeners  sorted set: worker -> until when, ms
-- KEYS[2]  call       the request
-- ARGV[1]  the channel
-- ARGV[2]  the note
-- ARGV[3]  the request; empty: it was left before, tell of it again
-- ARGV[4]  for how long it waits, ms
--
-- Returns how many workers hear it.

local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local hear = redis.call('ZCOUNT', KEYS[1], string.format('%.0f', ms), '+inf')
if hear > 0 then
  if ARGV[3] ~= '' then redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4]) end
  redis.call('PUBLISH', ARGV[1], ARGV[2])
end
return hear
