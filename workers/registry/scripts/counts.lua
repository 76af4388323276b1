-- Reads how many connections each incarnation has of a user, of an address or of all.
--
-- KEYS[1]  counts  hash: incarnation -> its connections
--
-- Returns {incarnation, connections, incarnation, connections, …}.

return redis.call('HGETALL', KEYS[1])
