-- Says whether a user is in a room.
--
-- KEYS[1]  users  hash: user -> connections; see room.lua of presence
-- ARGV[1]  user
--
-- Returns 1 or 0.

return redis.call('HEXISTS', KEYS[1], ARGV[1])
