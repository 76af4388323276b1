-- Gives a user's place in a room back.
--
-- KEYS[1]  occupants  as in occupy.lua
-- ARGV[1]  incarnation
-- ARGV[2]  user
--
-- Returns 1 if there was one.

return redis.call('HDEL', KEYS[1], ARGV[1] .. ' ' .. ARGV[2])
