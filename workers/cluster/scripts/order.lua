-- Orders something of a host, or takes the order back.
-- uses hosts.lua
--
-- ARGV[1]  host
-- ARGV[2]  order, JSON; "": none any more
--
-- Returns {1 where the host is a member, the order that stood before or ""}.

local before = redis.call('HGET', KEYS[3], ARGV[1]) or ''
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return { 0, before } end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[3], ARGV[1])
else
  redis.call('HSET', KEYS[3], ARGV[1], text(now_ms()) .. ' ' .. ARGV[2])
end
return { 1, before }
