-- Owns how a room's log is opened: its identity, its list of reigns, how long it is kept.
-- It is put in front of every script that says "uses log.lua"; all of them share, for one room or for many,
--   KEYS[1] meta     hash: id top time reign reigns kept changes, and alias where the reign has one
--   KEYS[2] log      stream of messages: <offset>-0 -> t <time> e <envelope>
--   KEYS[3] overlay  hash: what later entries changed about messages
--   KEYS[4] changes  stream of the entries that change messages, with offsets of the same count
--
-- Messages and changes share one count of offsets and are trimmed apart, so that no number of changes pushes a message
-- out: whatever lies between the first and the last message and is in neither stream was a change, and the overlay still
-- has what it did.
--
-- The epoch of an entry is the log's id and the reign of the store that wrote it: two times eight characters.
-- A reign is the store's master_replid, which changes at every restart and every promotion, and these are the only
-- moments at which a store can forget what it had acknowledged. `reigns` lists "reign:first offset", oldest first;
-- it is rolled back together with the log, so a reader can always tell whether what it saw is still there. A reign that
-- comes back, with a shard that moved to another node of a cluster and back, is listed under an alias: the other node may
-- have forgotten entries of its first time.

local REIGNS = 64 -- the newest; a position under an older one gets a reset

-- Lua's own conversion turns 2^53 into 9.007e+15.
local function text(number) return string.format('%.0f', number) end

-- Seconds that a room's position outlives its last use, where its messages live `ttl` seconds. Workers look at what
-- they follow every 20 s and have it kept for longer when half of that is over: it must not be gone before.
local function life_of_meta(ttl) return math.max(4 * ttl, 120) end

-- The same of a room into which nobody wrote: as long as somebody follows it, and a little longer.
local UNWRITTEN = 240
local function life_of(top, ttl) return top > 0 and life_of_meta(ttl) or math.min(UNWRITTEN, life_of_meta(ttl)) end

local function present_reign()
  local info = redis.call('INFO', 'replication')
  local _, stop = string.find(info, 'master_replid:', 1, true)
  return string.sub(info, stop + 1, stop + 8)
end

local function now_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000), now
end

-- The log as it is, or a new one that begins; nothing is written yet. `seed` makes a new id unlike any other.
-- A script that opens many says which meta hash, and under which reign, that it asks for only once.
local function open_log(seed, key, reign)
  key = key or KEYS[1]
  local meta = redis.call('HMGET', key, 'id', 'top', 'time', 'reign', 'kept', 'alias')
  local ms, now = now_ms()
  local log = { key = key, now = ms, reign = reign or present_reign() }
  if meta[1] then
    log.id, log.top, log.kept = meta[1], tonumber(meta[2]), tonumber(meta[5])
    log.time = math.max(ms, tonumber(meta[3]))
    log.changed = meta[4] ~= log.reign
    log.name = not log.changed and meta[6] or log.reign
    if log.changed then
      log.alias = meta[6]
      if string.find(redis.call('HGET', key, 'reigns') or '', log.reign .. ':', 1, true) then
        log.name = string.sub(redis.sha1hex(log.reign .. now[1] .. '.' .. now[2]), 1, 8)
        log.alias = log.name
      elseif log.alias then
        log.alias = log.reign
      end
    end
  else
    log.id = string.sub(redis.sha1hex(seed .. now[1] .. '.' .. now[2]), 1, 8)
    log.top, log.kept, log.time, log.fresh, log.changed, log.name = 0, 0, ms, true, true, log.reign
  end
  log.epoch = log.id .. log.name
  return log
end

-- What the meta hash lists once the present reign is in it.
local function reigns_of(log)
  local list = (not log.fresh) and redis.call('HGET', log.key, 'reigns') or ''
  if not log.changed then return list end
  local _, count = string.gsub(list, ':', ':')
  while count >= REIGNS do
    list = string.gsub(list, '^[^ ]* ', '', 1)
    count = count - 1
  end
  local this = log.name .. ':' .. text(log.top + 1)
  return list == '' and this or (list .. ' ' .. this)
end

-- Whether a position still means what it meant to whoever saw it in that epoch: the log was not reset since.
local function on_the_line(log, offset, epoch)
  if string.sub(epoch, 1, 8) ~= log.id then return false end
  local seen = false
  for reign, first in string.gmatch(reigns_of(log), '(%S+):(%d+)') do
    if seen then return offset < tonumber(first) end
    seen = reign == string.sub(epoch, 9)
  end
  return seen
end
