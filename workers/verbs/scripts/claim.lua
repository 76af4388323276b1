-- Claims an idempotency key for a request.
--
-- KEYS[1]  what the key stands for: a digest of the request, and its answer once there is one
-- ARGV[1]  the digest
-- ARGV[2]  seconds that it is kept
--
-- Returns nothing where the key is free and is the caller's now, else what it stands for.

local before = redis.call('GET', KEYS[1])
if before then return before end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return false
