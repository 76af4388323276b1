-- Gives a user's claim to a name back.
--
-- KEYS[…]  as in claim_name.lua
-- ARGV[1]  incarnation
-- ARGV[2]  user
--
-- Returns 1.

for _, key in ipairs(KEYS) do redis.call('HDEL', key, ARGV[1] .. ' ' .. ARGV[2]) end
return 1
