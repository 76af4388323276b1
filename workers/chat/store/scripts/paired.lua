-- Says where the sender's copy of a direct message lies.
--
-- KEYS[1]  copies  as in pair.lua
-- ARGV[1]  offset in this inbox
--
-- Returns the offset in the sender's inbox, or nil.

return redis.call('HGET', KEYS[1], ARGV[1])
