-- Keeps a ban or a mute of a user or an address, or lifts it.
--
-- KEYS[1]  sanctions  hash: "<verb> <room>" -> "<until> <at> <details>"; until in ms, 0: without end
-- ARGV[1]  "<verb> <room>"
-- ARGV[2]  seconds; 0: without end; -1: lift it
-- ARGV[3]  details: JSON
--
-- Returns {until, at, what was kept before or ""}, times in ms of the store's clock.

local function text(number) return string.format('%.0f', number) end

local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)

local before = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local seconds = tonumber(ARGV[2])
if seconds < 0 then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return { '0', text(now), before }
end

local ends = seconds > 0 and now + math.floor(seconds * 1000) or 0
redis.call('HSET', KEYS[1], ARGV[1], text(ends) .. ' ' .. text(now) .. ' ' .. ARGV[3])

-- The whole is forgotten with the last that ends.
local last = 0
for _, value in ipairs(redis.call('HVALS', KEYS[1])) do
  local one = tonumber(string.match(value, '^%d+'))
  if one == 0 then last = nil break end
  last = math.max(last, one)
end
if last then redis.call('PEXPIREAT', KEYS[1], text(last)) else redis.call('PERSIST', KEYS[1]) end
return { text(ends), text(now), before }
