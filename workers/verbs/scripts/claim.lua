-- Claims an idempotency key for a request.
--
-- KEYS[1]  what the key stands for: a digest of the request, then its answer, or before there is one `@` and the worker
-- ARGV[1]  the digest, `@` and the worker that claims it
-- ARGV[2]  for how long a claim lasts that nothing answers, s
-- ARGV[3]  the claim of a worker that is dead, which counts no more; empty: none is known
--
-- Returns nothing where the key is free and is the caller's now, else what it stands for.

local before = redis.call('GET', KEYS[1])
if before and before ~= ARGV[3] then return before end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return false
