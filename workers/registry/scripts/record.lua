-- Writes down who moderated whom.
--
-- KEYS[1]  audit  stream
-- ARGV[1]  entries that are kept, about
-- ARGV[2]  the deed: JSON
--
-- Returns the entry's id; its first part is the time in ms of the store's clock.

return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'd', ARGV[2])
