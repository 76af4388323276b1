-- Reads how far a user has read in a room, and how many messages of others came since.
--
-- KEYS[1]  meta     hash of the room's log; `changes` counts the entries that change messages
-- KEYS[2]  log      stream of messages
-- KEYS[3]  overlay  hash; Nd: the message at offset N is deleted; see amend.lua
-- KEYS[4]  changes  stream
-- KEYS[5]  marks    hash: user -> "<log id> <offset> <changes up to there>"; of an inbox also !name, see call.lua
-- ARGV[1]  user
--
-- Returns {offset, unread, name}; an offset of -1: never marked; name "": none kept. Neither the user's own messages count
-- nor deleted ones, nor any that are not kept any more. Of more than SCANNED messages only the newest are looked at; all
-- before them count.

local SCANNED = 200

local function text(number) return string.format('%.0f', number) end

local mark, name = unpack(redis.call('HMGET', KEYS[5], ARGV[1], '!name'))
name = name and string.match(name, '^%d+ %d+ (.*)$') or ''
local meta = redis.call('HMGET', KEYS[1], 'id', 'top', 'changes')
if not meta[1] then return { -1, 0, name } end
local top, changes = tonumber(meta[2]), tonumber(meta[3] or '0')
local offset, seen = 0, 0
if mark then
  local id, at, known = string.match(mark, '^(%S+) (%d+) (%d+)$')
  if id == meta[1] then offset, seen = tonumber(at), tonumber(known) else mark = false end
end
if offset >= top then return { mark and offset or -1, 0, name } end

local newest = redis.call('XREVRANGE', KEYS[2], '+', text(offset + 1), 'COUNT', SCANNED)
local fields = {}
for _, entry in ipairs(newest) do
  if string.match(entry[2][4], '^%S* (%S*)') ~= ARGV[1] then
    fields[#fields + 1] = string.match(entry[1], '^%d+') .. 'd'
  end
end
local unread = #fields
if unread > 0 then
  for _, deleted in ipairs(redis.call('HMGET', KEYS[3], unpack(fields))) do
    if deleted then unread = unread - 1 end
  end
end
if #newest == SCANNED then
  local messages = math.min((top - offset) - (changes - seen), redis.call('XLEN', KEYS[2]))
  unread = unread + math.max(0, messages - SCANNED)
end
return { mark and offset or -1, unread, name }
