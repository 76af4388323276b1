-- Owns how entries are appended to a room's log and published. It is put in front of every script that says
-- "uses append.lua", after log.lua, and reads of them
--   ARGV[1]  channel
--   ARGV[2]  seed of a new log's id
--   ARGV[3]  history size, entries (0: keep none)
--   ARGV[4]  history ttl, seconds; the meta hash lives four times as long
--   ARGV[5]  key ttl, seconds
--
-- A script opens the log once, appends as many entries as it has, and keeps the log's new state once. A failure burns
-- no offset: what a store without memory, or one that is a replica, refuses is a script's first write, which is the
-- first XADD; nothing that comes after it in the same script can be refused for these reasons.

-- The answer that an earlier call with the same key got, or an error reply; nil where there was none.
local function first_answer(log, key, digest)
  if log.fresh then return nil end
  local kept = redis.call('GET', key)
  if not kept then return nil end
  local before, id, answer = string.match(kept, '^(%S+) (%S+) (.+)$')
  if id ~= log.id then return nil end -- it names a log that is gone
  if before ~= digest then return redis.error_reply('KEYCONFLICT this key was used with other content') end
  return answer .. ' d'
end

-- Appends and publishes one entry, `key` nil where it has none; returns "<offset> <time> <epoch>" or an error reply.
local function append(log, envelope, key, digest)
  if log.top >= 9007199254740991 then return redis.error_reply('OFFSETS this log is full') end
  if log.fresh then redis.call('DEL', KEYS[2], KEYS[3]) end
  if log.changed and not log.reigns then log.reigns = reigns_of(log) end

  local offset = text(log.top + 1)
  local xadd = log.appended and redis.pcall or redis.call
  local added = xadd('XADD', KEYS[2], 'MAXLEN', log.trim, ARGV[3], offset .. '-0', 't', log.stamp, 'e', envelope)
  if added.err then return added end
  log.top, log.appended, log.fresh = log.top + 1, offset, false

  local answer = offset .. log.tail
  if key then redis.call('SET', key, digest .. ' ' .. log.id .. ' ' .. answer, 'EX', ARGV[5]) end
  redis.call('PUBLISH', ARGV[1], answer .. ' ' .. envelope)
  return answer
end

-- To be called before the first `append`.
local function prepare(log)
  log.stamp = text(log.time)
  log.tail = ' ' .. log.stamp .. ' ' .. log.epoch
  -- An exact trim costs a deletion inside a node for every message; "~" drops whole nodes of a hundred.
  log.trim = tonumber(ARGV[3]) < 100 and '=' or '~'
end

-- To be called after the last `append`.
local function keep(log)
  if not log.appended then return end
  if log.changed then
    redis.call('HSET', KEYS[1], 'top', log.appended, 'time', log.stamp,
      'id', log.id, 'reign', log.reign, 'reigns', log.reigns)
  else
    redis.call('HSET', KEYS[1], 'top', log.appended, 'time', log.stamp)
  end
  local ttl = tonumber(ARGV[4])
  if log.now - log.kept > ttl * 1000 / 64 then
    redis.call('EXPIRE', KEYS[2], ttl)
    redis.call('EXPIRE', KEYS[1], 4 * ttl)
    redis.call('EXPIRE', KEYS[3], 4 * ttl)
    redis.call('HSET', KEYS[1], 'kept', text(log.now))
  end
end
