-- Keeps a ban or a mute of a user, or lifts it.
--
-- KEYS[1]  sanctions  hash: "<verb> <room> <user>" -> "<until> <at> <addresses> <details>"; until in ms, 0: without end;
--                     addresses with commas between them, "-" for none. Field "!at": the last `at` that was given
-- ARGV[1]  "<verb> <room> <user>"
-- ARGV[2]  seconds; 0: without end; -1: lift it
-- ARGV[3]  addresses that it holds for, with commas between them, or "-"
-- ARGV[4]  details: JSON
--
-- It goes on for the addresses that it held for before. Of two, the later has the larger `at`.
-- Returns {until, at, addresses, what was kept before and still held, or ""}, times in ms of the store's clock.

local function text(number) return string.format('%.0f', number) end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at = math.max(now, tonumber(redis.call('HGET', KEYS[1], '!at') or 0) + 1)

local before = redis.call('HGET', KEYS[1], ARGV[1]) or ''
local addresses, seen = {}, {}
local function add(some)
  for address in string.gmatch(some, '[^,]+') do
    if address ~= '-' and not seen[address] then
      seen[address] = true
      addresses[#addresses + 1] = address
    end
  end
end
add(ARGV[3])
if before ~= '' then
  local ends, _, held = string.match(before, '^(%d+) (%d+) (%S+)')
  add(held)
  if tonumber(ends) > 0 and tonumber(ends) <= now then before = '' end
end
local held = #addresses > 0 and table.concat(addresses, ',') or '-'

local seconds, ends = tonumber(ARGV[2]), 0
if seconds < 0 then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  if seconds > 0 then ends = now + math.floor(seconds * 1000) end
  redis.call('HSET', KEYS[1], ARGV[1], text(ends) .. ' ' .. text(at) .. ' ' .. held .. ' ' .. ARGV[4])
end
redis.call('HSET', KEYS[1], '!at', text(at))

-- The whole is forgotten with the last that ends, and a while after the last change.
local last = now + 3600000
local all = redis.call('HGETALL', KEYS[1])
for place = 1, #all, 2 do
  if all[place] ~= '!at' then
    local one = tonumber(string.match(all[place + 1], '^%d+'))
    if one == 0 then last = nil break end
    last = math.max(last, one)
  end
end
if last then redis.call('PEXPIREAT', KEYS[1], text(last)) else redis.call('PERSIST', KEYS[1]) end
return { text(ends), text(at), held, before }
