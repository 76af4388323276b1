-- The subscriptions of a user that may be told something, within a rate.
--
-- KEYS[1]  push  hash, see push_subscribe.lua
-- KEYS[2]  rate  string: notes in the period
-- ARGV[1]  the most notes in a period
-- ARGV[2]  the period, in seconds
--
-- Returns the values of the hash; none where there are none, or where there were too many notes.

if redis.call('EXISTS', KEYS[1]) == 0 then return {} end
local count = tonumber(redis.call('GET', KEYS[2]) or 0)
if count >= tonumber(ARGV[1]) then return {} end
if count == 0 then redis.call('SET', KEYS[2], 1, 'EX', ARGV[2]) else redis.call('SET', KEYS[2], count + 1, 'KEEPTTL') end
return redis.call('HVALS', KEYS[1])
