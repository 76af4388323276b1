-- Publishes a worker's sign of life, on a master only: PING and PUBLISH also succeed on one that was deposed. Then it
-- writes, as all that clients say does: a store that is full, or forbids it, refuses that alone.
--
-- KEYS[1]  what is written, for a minute
-- KEYS[2]  a log of one entry, for a minute: a store may forbid XADD alone
-- KEYS[3]  a hash of one field, for a minute: or HSET alone
-- ARGV[1]  channel
-- ARGV[2]  what to publish
--
-- Returns the number of receivers. Errors: READONLY on a replica, and whatever the store refuses to write for.

if not string.find(redis.call('INFO', 'replication'), 'role:master', 1, true) then
  return redis.error_reply('READONLY this is a replica')
end
local receivers = redis.call('PUBLISH', ARGV[1], ARGV[2])
redis.call('SET', KEYS[1], ARGV[2], 'EX', 60)
redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'e', ARGV[2])
redis.call('EXPIRE', KEYS[2], 60)
redis.call('HSET', KEYS[3], 'e', ARGV[2])
redis.call('EXPIRE', KEYS[3], 60)
return receivers
