-- Reads all moderators and admins.
--
-- KEYS[1]  staff  hash: user -> JSON
--
-- Returns the JSON of each.

return redis.call('HVALS', KEYS[1])
