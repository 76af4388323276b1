-- Makes an incarnation count as alive for a while longer, and shows who else does.
-- uses incarnations.lua
--
-- ARGV[1]  incarnation
-- ARGV[2]  lease, ms
-- ARGV[3]  "new": it registers; "": it must be known
--
-- Returns {1 or 0 for one that is not known any more, now in ms, reign of the store, {incarnations alive},
-- {incarnations whose lease is over or whose reaping nobody finishes}}.

local now = now_ms()
local alive = 0
if ARGV[3] == 'new' or redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  redis.call('ZADD', KEYS[1], text(now + ARGV[2]), ARGV[1])
  alive = 1
end

-- It changes at every restart and every promotion, when the store may have forgotten what it had taken.
local info = redis.call('INFO', 'replication')
local _, stop = string.find(info, 'master_replid:', 1, true)
local reign = string.sub(info, stop + 1, stop + 8)

local suspects = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. text(now))
for _, one in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. text(now))) do
  suspects[#suspects + 1] = one
end
return { alive, text(now), reign, redis.call('ZRANGE', KEYS[1], 0, -1), suspects }
