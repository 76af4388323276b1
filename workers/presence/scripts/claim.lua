-- Notes in which rooms an incarnation is about to write, before it does: whoever reaps it has to look there.
-- uses ../../cluster/scripts/incarnations.lua
--
-- ARGV[1]  incarnation
-- ARGV[2]  how many rooms it claims
-- ARGV[3…] room, number of the claim; …; then the rooms it gives up: room, number of the claim that is over; …
--
-- Returns 1, or 0 to an incarnation that is not alive any more: nothing was noted.

if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
local claims = 3 + 2 * ARGV[2]
for at = 3, claims - 1, 2 do redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 1]) end
for at = claims, #ARGV, 2 do
  if redis.call('HGET', KEYS[3], ARGV[at]) == ARGV[at + 1] then redis.call('HDEL', KEYS[3], ARGV[at]) end
end
return 1
