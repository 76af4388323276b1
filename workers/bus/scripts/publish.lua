-- Appends one message to a room's log and publishes it; the same key a second time gives the first answer again.
-- uses log.lua
--
-- KEYS[4]  key entry, only where the message has an idempotency key
-- ARGV[1]  channel
-- ARGV[2]  seed of a new log's id
-- ARGV[3]  history size, entries (0: keep none)
-- ARGV[4]  history ttl, seconds; the meta hash lives four times as long
-- ARGV[5]  envelope
-- ARGV[6]  digest of what a retry must repeat   } only with KEYS[4]
-- ARGV[7]  key ttl, seconds                     }
--
-- Returns "<offset> <time> <epoch>", followed by " d" for a duplicate. Errors: KEYCONFLICT, OFFSETS.
-- A failure burns no offset: what can fail for want of memory, XADD, comes before everything else that counts.

local log = open_log(ARGV[2])

if KEYS[4] and not log.fresh then
  local kept = redis.call('GET', KEYS[4])
  if kept then
    local digest, id, answer = string.match(kept, '^(%S+) (%S+) (.+)$')
    if id == log.id then -- else it names a log that is gone
      if digest ~= ARGV[6] then
        return redis.error_reply('KEYCONFLICT this key was used with other content')
      end
      return answer .. ' d'
    end
  end
end

if log.top >= 9007199254740991 then
  return redis.error_reply('OFFSETS this log is full')
end

if log.fresh then redis.call('DEL', KEYS[2], KEYS[3]) end

local offset, time = text(log.top + 1), text(log.time)
local size = tonumber(ARGV[3])
-- An exact trim costs a deletion inside a node for every message; "~" drops whole nodes of a hundred.
redis.call('XADD', KEYS[2], 'MAXLEN', size < 100 and '=' or '~', ARGV[3], offset .. '-0', 't', time, 'e', ARGV[5])

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
if KEYS[4] then
  redis.call('SET', KEYS[4], ARGV[6] .. ' ' .. log.id .. ' ' .. answer, 'EX', ARGV[7])
end
redis.call('PUBLISH', ARGV[1], answer .. ' ' .. ARGV[5])
return answer
