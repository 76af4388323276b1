-- Keeps a host among the members, and shows what was ordered for the host.
-- uses hosts.lua
--
-- ARGV[1]  host
-- ARGV[2]  lease, ms
-- ARGV[3]  record
-- ARGV[4]  master: the identity of the process
-- ARGV[5]  ms that a host is remembered after its lease
--
-- Returns {now in ms, the order or "", 1 where another master renewed the lease of the same host meanwhile}.

local now = now_ms()
local host, master = ARGV[1], ARGV[4]
local lease = redis.call('ZSCORE', KEYS[1], host)
local other = redis.call('HGET', KEYS[4], host)
local contested = 0
if lease and tonumber(lease) > now and other and other ~= master then contested = 1 end

redis.call('ZADD', KEYS[1], text(now + ARGV[2]), host)
redis.call('HSET', KEYS[2], host, ARGV[3])
redis.call('HSET', KEYS[4], host, master)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. text(now - ARGV[5]), 'LIMIT', 0, 10)) do
  forget(gone)
end
return { text(now), redis.call('HGET', KEYS[3], host) or '', contested }
