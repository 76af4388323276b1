-- Owns how one entry is appended to a room's log and published. It is put in front of every script that says
-- "uses append.lua", after log.lua, and reads of them
--   KEYS[4]  key entry, only where the entry has an idempotency key
--   ARGV[1]  channel
--   ARGV[2]  seed of a new log's id
--   ARGV[3]  history size, entries (0: keep none)
--   ARGV[4]  history ttl, seconds; the meta hash lives four times as long
--   ARGV[5]  envelope
--   ARGV[6]  digest of what a retry must repeat   } only with KEYS[4]
--   ARGV[7]  key ttl, seconds                     }
--
-- A failure burns no offset: what can fail for want of memory, XADD, comes before everything else that counts.

-- The answer that an earlier call with the same key got, or an error reply; nil where there was none.
local function first_answer(log)
  if not KEYS[4] or log.fresh then return nil end
  local kept = redis.call('GET', KEYS[4])
  if not kept then return nil end
  local digest, id, answer = string.match(kept, '^(%S+) (%S+) (.+)$')
  if id ~= log.id then return nil end -- it names a log that is gone
  if digest ~= ARGV[6] then return redis.error_reply('KEYCONFLICT this key was used with other content') end
  return answer .. ' d'
end

-- Appends and publishes; returns "<offset> <time> <epoch>" or an error reply.
local function append(log)
  if log.top >= 9007199254740991 then return redis.error_reply('OFFSETS this log is full') end
  if log.fresh then redis.call('DEL', KEYS[2], KEYS[3]) end

  local offset, time = text(log.top + 1), text(log.time)
  -- An exact trim costs a deletion inside a node for every message; "~" drops whole nodes of a hundred.
  local trim = tonumber(ARGV[3]) < 100 and '=' or '~'
  redis.call('XADD', KEYS[2], 'MAXLEN', trim, ARGV[3], offset .. '-0', 't', time, 'e', ARGV[5])

  if log.changed then
    local reigns = reigns_of(log)
    redis.call('HSET', KEYS[1], 'top', offset, 'time', time, 'id', log.id, 'reign', log.reign, 'reigns', reigns)
  else
    redis.call('HSET', KEYS[1], 'top', offset, 'time', time)
  end

  local ttl = tonumber(ARGV[4])
  if log.now - log.kept > ttl * 1000 / 64 then
    redis.call('EXPIRE', KEYS[2], ttl)
    redis.call('EXPIRE', KEYS[1], 4 * ttl)
    redis.call('EXPIRE', KEYS[3], 4 * ttl)
    redis.call('HSET', KEYS[1], 'kept', text(log.now))
  end

  local answer = offset .. ' ' .. time .. ' ' .. log.epoch
  if KEYS[4] then redis.call('SET', KEYS[4], ARGV[6] .. ' ' .. log.id .. ' ' .. answer, 'EX', ARGV[7]) end
  redis.call('PUBLISH', ARGV[1], answer .. ' ' .. ARGV[5])
  return answer
end
