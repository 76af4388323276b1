-- Forget a subscription of a user.
--
-- KEYS[1]  push  hash, see push_subscribe.lua
-- ARGV[1]  name
--
-- Returns 1 where it was there.

return redis.call('HDEL', KEYS[1], ARGV[1])
