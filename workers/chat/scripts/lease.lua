-- Takes tokens from a user's bucket for one worker, which spends them without asking again.
--
-- KEYS[1]  bucket  string: "<tokens> <ms>", as of then
-- ARGV[1]  tokens a second
-- ARGV[2]  tokens that the bucket holds
-- ARGV[3]  tokens that are wanted
-- ARGV[4]  tokens that were spent ahead of this: taken in any case, at most until the bucket owes as many as it holds
--
-- Returns {tokens, 0}; {0, ms until there is one} where there is none.

local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)

local rate, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tokens, at = burst, now
local kept = redis.call('GET', KEYS[1])
if kept then
  local had, when = string.match(kept, '^(%S+) (%S+)$')
  tokens = math.min(burst, tonumber(had) + math.max(0, now - tonumber(when)) * rate / 1000)
end
local owed = tonumber(ARGV[4])
if owed > 0 then tokens = math.max(-burst, tokens - owed) end

local granted = math.max(0, math.min(wanted, math.floor(tokens)))
if granted > 0 or owed > 0 then
  local full_after = math.ceil((burst - tokens + granted) * 1000 / rate)
  redis.call('SET', KEYS[1], string.format('%.3f %.0f', tokens - granted, now), 'PX', full_after + 1000)
end
if granted == 0 then return { 0, math.ceil((1 - tokens) * 1000 / rate) } end
return { granted, 0 }
