-- Owns how entries are appended to a room's log and published. It is put in front of every script that says
-- "uses append.lua", after log.lua, and reads of them
--   KEYS[5] and KEYS[6]  keys, two hashes: 'from' (ms), and key -> digest, log id and answer; only where the entries
--                        have idempotency keys
--   ARGV[1]  channel
--   ARGV[2]  seed of a new log's id
--   ARGV[3]  history size, messages (0: keep none)
--   ARGV[4]  history ttl, seconds; see log.lua for the meta hash
--   ARGV[5]  key ttl, seconds
--
-- A script opens the log once, appends as many entries as it has, keeps the log's new state once, and publishes all
-- that it appended as one: "<first offset> <time> <epoch> <sizes, with commas between>\n" and the envelopes. A failure
-- burns no offset: what a store without memory, or one that is a replica, refuses is a script's first write, which is the
-- first XADD; nothing that comes after it in the same script can be refused for these reasons.
--
-- Keys are remembered in the younger of two hashes. When that has been written to for the key ttl, whatever is in the
-- older one is older than that: it is emptied and becomes the younger one. So a key is known for the ttl at least, and
-- for twice as long at most.

local DIGEST, ID = 12, 8 -- bytes

-- What is known of these keys. `from` is when the first of the hash `young` was written; below 0: there is none.
local function open_keys(fields)
  local one = redis.call('HMGET', KEYS[5], 'from', unpack(fields))
  local two = redis.call('HMGET', KEYS[6], 'from', unpack(fields))
  local keys = { young = KEYS[5], old = KEYS[6], from = tonumber(one[1] or -1), known = {}, new = {} }
  if tonumber(two[1] or -1) > keys.from then
    keys.young, keys.old, keys.from = KEYS[6], KEYS[5], tonumber(two[1])
  end
  for at, field in ipairs(fields) do keys.known[field] = one[at + 1] or two[at + 1] end
  return keys
end

-- The answer that an earlier call with the same key got, or an error reply; nil where there was none.
local function first_answer(log, keys, field, digest)
  local kept = keys.known[field]
  if not kept or string.sub(kept, DIGEST + 1, DIGEST + ID) ~= log.id then return nil end -- or the log is gone
  if string.sub(kept, 1, DIGEST) ~= digest then
    return redis.error_reply('KEYCONFLICT this key was used with other content')
  end
  return string.sub(kept, DIGEST + ID + 1) .. ' d'
end

local function remember(log, keys, field, digest, answer)
  local kept = digest .. log.id .. answer
  keys.known[field] = kept
  keys.new[#keys.new + 1] = field
  keys.new[#keys.new + 1] = kept
end

-- To be called after the last `append`.
local function keep_keys(log, keys)
  if #keys.new == 0 then return end
  local ttl = tonumber(ARGV[5])
  if keys.from >= 0 and log.now - keys.from < ttl * 1000 then
    redis.call('HSET', keys.young, unpack(keys.new))
  else
    redis.call('DEL', keys.old)
    redis.call('HSET', keys.old, 'from', text(log.now), unpack(keys.new))
    redis.call('EXPIRE', keys.old, 2 * ttl)
  end
end

-- A store that took an XADD and refused what came after it (an ACL user without HSET) has left entries above the room's
-- position. They were refused: they go, and the position moves past them, or the room would take nothing any more.
local function drop_refused(log, stream)
  local left = redis.call('XRANGE', stream, text(log.top + 1) .. '-0', '+')
  if #left == 0 then return false end
  for _, entry in ipairs(left) do redis.call('XDEL', stream, entry[1]) end
  log.top = tonumber(string.match(left[#left][1], '^%d+'))
  return true
end

-- Appends one entry, to be published by `keep`; returns "<offset> <time> <epoch>" or an error reply. `stream` is KEYS[2]
-- or KEYS[4], and keeps `most` entries.
local function append(log, envelope, stream, most)
  if log.top >= 9007199254740991 then return redis.error_reply('OFFSETS this log is full') end
  -- Not without need: a full store refuses a script's first write alone, and a DEL it never refuses.
  if log.fresh and redis.call('EXISTS', KEYS[2], KEYS[3], KEYS[4]) > 0 then
    redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
  end
  if log.changed and not log.reigns then log.reigns = reigns_of(log) end

  local offset = text(log.top + 1)
  local added = redis.pcall('XADD', stream, 'MAXLEN', log.trim, most, offset .. '-0', 't', log.stamp, 'e', envelope)
  if added.err and not log.appended then
    if string.find(added.err, 'equal or smaller', 1, true) and drop_refused(log, stream) then
      offset = text(log.top + 1)
    end
    added = redis.call('XADD', stream, 'MAXLEN', log.trim, most, offset .. '-0', 't', log.stamp, 'e', envelope)
  end
  if added.err then return added end
  log.top, log.appended, log.fresh = log.top + 1, offset, false

  local answer, count = offset .. log.tail, #log.sizes + 1
  log.first = log.first or answer
  log.sizes[count], log.envelopes[count] = #envelope, envelope
  return answer
end

-- The message at an offset, as the stream has it; nil where it is not there any more, or is another than was seen in the
-- epoch ("": whichever is there).
local function message_at(log, offset, epoch)
  if log.fresh or (epoch ~= '' and not on_the_line(log, tonumber(offset), epoch)) then return nil end
  return redis.call('XRANGE', KEYS[2], offset .. '-0', offset .. '-0')[1]
end

-- To be called before the first `append`.
local function prepare(log)
  log.stamp = text(log.time)
  log.tail = ' ' .. log.stamp .. ' ' .. log.epoch
  log.sizes, log.envelopes = {}, {}
  -- An exact trim costs a deletion inside a node for every message; "~" drops whole nodes of a hundred.
  log.trim = tonumber(ARGV[3]) < 100 and '=' or '~'
end

-- To be called after the last `append`.
local function keep(log)
  if not log.appended then return end
  if log.changed then
    redis.call('HSET', KEYS[1], 'top', log.appended, 'time', log.stamp,
      'id', log.id, 'reign', log.reign, 'reigns', log.reigns)
    if log.alias then redis.call('HSET', KEYS[1], 'alias', log.alias) end
  else
    redis.call('HSET', KEYS[1], 'top', log.appended, 'time', log.stamp)
  end
  local ttl = tonumber(ARGV[4])
  if log.now - log.kept > ttl * 1000 / 64 then
    redis.call('EXPIRE', KEYS[2], ttl)
    redis.call('EXPIRE', KEYS[4], ttl)
    redis.call('EXPIRE', KEYS[1], life_of_meta(ttl))
    redis.call('EXPIRE', KEYS[3], life_of_meta(ttl))
    redis.call('HSET', KEYS[1], 'kept', text(log.now))
  end
  redis.call('PUBLISH', ARGV[1],
    log.first .. ' ' .. table.concat(log.sizes, ',') .. '\n' .. table.concat(log.envelopes))
end
