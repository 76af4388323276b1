-- Recognises an API key, notes that it was used, and takes a token of its rate.
--
-- KEYS[1]  api keys  hash: id -> record
-- KEYS[2]  bucket    hash: tokens, at (ms)
-- KEYS[3]  used      hash: id -> when it was last used, ms
-- ARGV[1]  the id of the key
-- ARGV[2]  the digest of its secret, which only who knows the secret can send: comparing it tells nothing
-- ARGV[3]  calls a second, where the record has none
--
-- Returns {record, milliseconds to wait: 0 for none}; nothing where there is no such key.

local record = redis.call('HGET', KEYS[1], ARGV[1])
if not record then return false end
local known = cjson.decode(record)
if known.digest ~= ARGV[2] then return false end
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
-- A write costs a sync of the store's log: one a second is enough to know when a key was last used.
local last = tonumber(redis.call('HGET', KEYS[3], ARGV[1]) or '0')
if ms - last >= 1000 then redis.call('HSET', KEYS[3], ARGV[1], string.format('%.0f', ms)) end
local rate = known.rate or tonumber(ARGV[3])
if rate == 0 then return { record, 0 } end
local burst = known.burst or math.max(1, rate)
local state = redis.call('HMGET', KEYS[2], 'tokens', 'at')
local tokens = math.min(burst, (tonumber(state[1]) or burst) + (ms - (tonumber(state[2]) or ms)) / 1000 * rate)
local wait = 0
if tokens >= 1 then tokens = tokens - 1 else wait = math.ceil((1 - tokens) / rate * 1000) end
redis.call('HSET', KEYS[2], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.0f', ms))
redis.call('PEXPIRE', KEYS[2], math.ceil(burst / rate * 1000) + 1000)
return { record, wait }
