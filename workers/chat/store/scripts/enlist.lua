-- Keeps a moderator's role and name, or forgets them.
--
-- KEYS[1]  staff  hash: user -> JSON
-- ARGV[1]  user
-- ARGV[2]  JSON; "": no role any more
--
-- Returns 1 if that is news.

if (redis.call('HGET', KEYS[1], ARGV[1]) or '') == ARGV[2] then return 0 end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return 1
