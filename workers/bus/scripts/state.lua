-- Owns what is told of a log that is opened to be read. It is put in front of every script that says "uses state.lua",
-- after log.lua.

local function offset_of(entry) return tonumber(string.match(entry[1], '^%d+')) end

-- The lowest offset that can be read (top + 1 where none can), the reigns, and up to where messages may be missing after the
-- first, after the log's identity was written down
-- and is kept for longer where need be; or an error reply. `begins`: a room without a log gets the identity of one, since
-- whoever asks goes on from there. Else nothing is kept of a room into which nobody wrote.
local function state_of(log, stream, overlay, changes, ttl, begins)
  local reigns = reigns_of(log)
  if log.fresh and not begins then return { first = 1, reigns = reigns, dropped = '0' } end
  if log.changed then
    -- A position that is handed out must be known later, so the reign is written down here too. A store that
    -- is out of memory cannot: then only a position in a log that exists is good for something.
    if log.fresh then redis.call('DEL', stream, overlay, changes) end
    local wrote = redis.pcall('HSET', log.key, 'id', log.id, 'top', text(log.top), 'time', text(log.time),
      'reign', log.reign, 'reigns', reigns, 'kept', text(log.kept))
    if type(wrote) == 'table' and wrote.err and log.fresh then return wrote end
    if log.alias then redis.pcall('HSET', log.key, 'alias', log.alias) end
  end
  local life = life_of(log.top, ttl)
  if redis.call('TTL', log.key) < life / 2 then redis.call('EXPIRE', log.key, life) end
  local oldest = log.top > 0 and redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  local dropped = string.find(log.key, '}:@', 1, true) and redis.call('HGET', log.key, 'dropped') -- see inbox.lua
  return { first = oldest and offset_of(oldest) or log.top + 1, reigns = reigns, dropped = dropped or '0' }
end
