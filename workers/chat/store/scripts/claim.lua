-- Binds an idempotency key to what is asked for under it, before the first of several logs is written.
--
-- KEYS[1]  claim  string: digest of the content
-- ARGV[1]  digest
-- ARGV[2]  ttl, seconds
--
-- Returns 1; 0 where the key was used with other content.

local known = redis.call('GET', KEYS[1])
if known and known ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
