-- Reads how far a user has read in a room, how many messages of others came since, and which of them mention the user.
-- uses marks.lua
--
-- KEYS[1]  meta     hash of the room's log; `changes` counts the entries that change messages
-- KEYS[2]  log      stream of messages
-- KEYS[3]  overlay  hash; Nd: the message at offset N is deleted; see amend.lua
-- KEYS[4]  changes  stream
-- KEYS[5]  marks    hash: user -> "<log id> <offset> <changes up to there>"; of an inbox also !name, see call.lua
-- KEYS[6]  mentions  hash, see mention.lua
-- KEYS[7], KEYS[8]  guests  two hashes, see marks.lua
-- ARGV[1]  user
-- ARGV[2]  "1": a guest
--
-- Returns {offset, unread, name, mentions, id, top, newest}: mentions as offsets with spaces between, in order, and as many of
-- the unread ones, the newest first, as NEWEST says; an offset of -1: never marked; name "": none kept; id "": the room has no
-- log. Neither the user's own messages count nor deleted ones, nor any that are not kept any more. Of more than SCANNED
-- messages only the newest are looked at; all before them count.

local SCANNED, NEWEST = 200, 16

local function text(number) return string.format('%.0f', number) end

local mark, name = mark_of(ARGV[1], ARGV[2] == '1'), redis.call('HGET', KEYS[5], '!name')
name = name and string.match(name, '^%d+ %d+ (.*)$') or ''
local meta = redis.call('HMGET', KEYS[1], 'id', 'top', 'changes')
if not meta[1] then return { -1, 0, name, '', '', '0', '' } end
local top, changes = tonumber(meta[2]), tonumber(meta[3] or '0')
local offset, seen = 0, 0
if mark then
  local id, at, known = string.match(mark, '^(%S+) (%d+) (%d+)$')
  if id == meta[1] then offset, seen = tonumber(at), tonumber(known) else mark = false end
end
if offset >= top then return { mark and offset or -1, 0, name, '', meta[1], meta[2], '' } end

-- Whether a message that mentioned the user is kept, is somebody else's, and still mentions the user.
local function mentions(at)
  local found = redis.call('XRANGE', KEYS[2], at, at)[1]
  if not found or string.match(found[2][4], '^%S* (%S*)') == ARGV[1] then return false end
  local edited, deleted = unpack(redis.call('HMGET', KEYS[3], at .. 'e', at .. 'd'))
  if deleted then return false end
  if not edited then return true end
  -- The members of an entry are in a fixed order, and a quotation mark inside a text is escaped; see entries.py.
  local listed = string.match(edited, '[^\\]","mentions":(%b[])') or ''
  return string.find(listed, '"' .. ARGV[1] .. '"', 1, true) or string.find(listed, '"@room"', 1, true)
end

local function mentioned()
  local places, seen = {}, {}
  for _, kept in ipairs(redis.call('HMGET', KEYS[6], ARGV[1], '@room')) do
    local id, offsets = string.match(kept or '', '^(%S+)(.*)$')
    for at in string.gmatch(id == meta[1] and offsets or '', '%d+') do
      if tonumber(at) > offset and not seen[at] and mentions(at) then
        seen[at], places[#places + 1] = true, tonumber(at)
      end
    end
  end
  table.sort(places)
  for place, at in ipairs(places) do places[place] = text(at) end
  return table.concat(places, ' ')
end

local newest = redis.call('XREVRANGE', KEYS[2], '+', text(offset + 1), 'COUNT', SCANNED)
local fields = {}
for _, entry in ipairs(newest) do
  if string.match(entry[2][4], '^%S* (%S*)') ~= ARGV[1] then
    fields[#fields + 1] = string.match(entry[1], '^%d+') .. 'd'
  end
end
local unread, last = #fields, {}
if unread > 0 then
  for at, deleted in ipairs(redis.call('HMGET', KEYS[3], unpack(fields))) do
    if deleted then
      unread = unread - 1
    elseif #last < NEWEST then
      last[#last + 1] = string.match(fields[at], '^%d+')
    end
  end
end
if #newest == SCANNED then
  local messages = math.min((top - offset) - (changes - seen), redis.call('XLEN', KEYS[2]))
  unread = unread + math.max(0, messages - SCANNED)
end
return { mark and offset or -1, unread, name, mentioned(), meta[1], meta[2], table.concat(last, ' ') }
