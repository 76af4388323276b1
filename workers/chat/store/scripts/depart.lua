-- Notes where a guest who has left came from.
--
-- KEYS[1]  address  string
-- ARGV[1]  address
-- ARGV[2]  ttl, seconds

redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return 1
