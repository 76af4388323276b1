-- Reads how far a user has read in a room, and how many messages came since.
--
-- KEYS[1]  meta   hash of the room's log; `changes` counts the entries that are no messages
-- KEYS[2]  log    stream
-- KEYS[3]  marks  hash: user -> "<log id> <offset> <changes up to there>"
-- ARGV[1]  user
--
-- Returns {offset, unread}; an offset of -1: never marked. Messages that are not kept any more do not count.

local meta = redis.call('HMGET', KEYS[1], 'id', 'top', 'changes')
if not meta[1] then return { -1, 0 } end
local top, changes = tonumber(meta[2]), tonumber(meta[3] or '0')
local offset, seen, mark = 0, 0, redis.call('HGET', KEYS[3], ARGV[1])
if mark then
  local id, at, known = string.match(mark, '^(%S+) (%d+) (%d+)$')
  if id == meta[1] then offset, seen = tonumber(at), tonumber(known) else mark = false end
end
local unread = math.max(0, (top - offset) - (changes - seen))
if unread > 0 then unread = math.min(unread, redis.call('XLEN', KEYS[2])) end
return { mark and offset or -1, unread }
