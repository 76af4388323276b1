-- Publishes a worker's sign of life, on a master only: PING and PUBLISH also succeed on one that was deposed.
--
-- ARGV[1]  channel
-- ARGV[2]  what to publish
--
-- Returns the number of receivers. Errors: READONLY on a replica.

if not string.find(redis.call('INFO', 'replication'), 'role:master', 1, true) then
  return redis.error_reply('READONLY this is a replica')
end
return redis.call('PUBLISH', ARGV[1], ARGV[2])
