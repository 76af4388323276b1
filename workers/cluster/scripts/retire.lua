-- Takes a host that ends in order out of the members. One with an order is remembered like a lost one, and the order
-- with it, so that a host that is drained for a restart stays drained.
-- uses hosts.lua
--
-- ARGV[1]  host
-- ARGV[2]  master; a host that another master keeps now stays as it is

if redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[2] then return 0 end
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then
  redis.call('ZADD', KEYS[1], text(now_ms() - 1), ARGV[1])
else
  forget(ARGV[1])
end
return 1
