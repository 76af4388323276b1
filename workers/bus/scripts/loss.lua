-- Appends to a room's log that entries are gone which were acknowledged, so that everybody who follows the room, or
-- comes back to it, is told: once for each reign under which they were written, and again for what was acknowledged under
-- that reign later than what the last such entry is about, as by an old master that does not know of the new one.
-- uses log.lua
-- uses append.lua
--
-- ARGV[6]  envelope of the entry that says so
-- ARGV[7]  epoch of an acknowledged entry
-- ARGV[8]  its offset
-- ARGV[9]  how long ago it was acknowledged, ms
--
-- Returns what publish.lua does for one message; nil where the entry is there, or its loss is noted. Error: OFFSETS.

local NOTED, LEAST = 400, 100 -- bytes of reigns, each with the time of its last lost entry; changes kept in any case

local log, epoch = open_log(ARGV[2]), ARGV[7]
local id, reign = string.sub(epoch, 1, 8), string.sub(epoch, 9)
if log.fresh or id ~= log.id or on_the_line(log, tonumber(ARGV[8]), epoch) then return false end
local noted = redis.call('HGET', KEYS[1], 'lost') or ''
local since = string.match(noted, '^.* ' .. reign .. ':(%d+)')
local acked = log.now - tonumber(ARGV[9])
if since and acked <= tonumber(since) then return false end

prepare(log)
local answer = append(log, ARGV[6], KEYS[4], math.max(tonumber(ARGV[3]), LEAST))
if answer.err then return answer end
keep(log)
redis.call('HINCRBY', KEYS[1], 'changes', 1) -- it is no message: unread messages are counted without it
redis.call('HSET', KEYS[1], 'lost', string.sub(noted .. ' ' .. reign .. ':' .. text(acked), -NOTED))
return answer
