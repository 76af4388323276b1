-- Keeps the answer to a request under its idempotency key, or gives the key back.
--
-- KEYS[1]  what the key stands for
-- ARGV[1]  the digest of the request and its answer; empty: give it back
-- ARGV[2]  seconds that it is kept
-- ARGV[3]  the claim that is given back, where it may be another's by now

if ARGV[3] and redis.call('GET', KEYS[1]) ~= ARGV[3] then return 0 end
if ARGV[1] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
