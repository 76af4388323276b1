-- Says where a guest who has left came from.
--
-- KEYS[1]  address  as in depart.lua
--
-- Returns it, or nil.

return redis.call('GET', KEYS[1])
