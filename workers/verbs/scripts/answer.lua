-- Answers a call.
--
-- KEYS[1]  answer  list, of one
-- ARGV[1]  the answer
-- ARGV[2]  for how long it waits, ms

redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
