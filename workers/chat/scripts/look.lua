-- Reads how far a user has read in a room, and how many messages came since.
--
-- KEYS[1]  meta   hash of the room's log; `changes` counts the entries that are no messages
-- KEYS[2]  log    stream
-- KEYS[3]  marks  hash: user -> "<log id> <offset> <changes up to there>"; of an inbox also !name, see call.lua
-- ARGV[1]  user
--
-- Returns {offset, unread, name}; an offset of -1: never marked; name "": none kept. Messages that are not kept any
-- more do not count.

local mark, name = unpack(redis.call('HMGET', KEYS[3], ARGV[1], '!name'))
name = name and string.match(name, '^%d+ %d+ (.*)$') or ''
local meta = redis.call('HMGET', KEYS[1], 'id', 'top', 'changes')
if not meta[1] then return { -1, 0, name } end
local top, changes = tonumber(meta[2]), tonumber(meta[3] or '0')
local offset, seen = 0, 0
if mark then
  local id, at, known = string.match(mark, '^(%S+) (%d+) (%d+)$')
  if id == meta[1] then offset, seen = tonumber(at), tonumber(known) else mark = false end
end
local unread = math.max(0, (top - offset) - (changes - seen))
if unread > 0 then unread = math.min(unread, redis.call('XLEN', KEYS[2])) end
return { mark and offset or -1, unread, name }
