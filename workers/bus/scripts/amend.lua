-- Appends an entry that changes a message, and writes down in the overlay how that one now looks.
-- uses log.lua
-- uses append.lua
--
-- ARGV[6]   envelope
-- ARGV[7]   key (16 bytes)                                  } empty without KEYS[5]
-- ARGV[8]   digest of what a retry must repeat (12 bytes)   }
-- ARGV[9]   e, d, r or u: edit, delete, react, unreact
-- ARGV[10]  offset of the message to be changed
-- ARGV[11]  who may have written it (empty: anybody)
-- ARGV[12]  what of a reaction exists once: who and which, with a space between
-- ARGV[13]  the payload of the envelope
-- ARGV[14]  epoch in which the message was seen; "": not said
--
-- The overlay is a message's state and lives as long as the message; it is bounded for each message and user. The entry in
-- the stream of changes is for those who follow or come back, and kept as long as no newer ones need its place.
--
-- The overlay has, for the message at offset N: Ne the last edit, Nd the deletion, both as "<time> <payload>"; Nr the
-- reactions as a JSON object of who and which to the time, without more, since each change reads and writes all. A
-- deletion wins over everything before and after it.
--
-- Returns what publish.lua does for one message. Errors: KEYCONFLICT, OFFSETS, NOTARGET, NOTAUTHOR, TOOMANY.

local REACTIONS, REACTIONS_OF_ONE = 256, 16 -- pairs of a user and an emoji, for one message; and for one user there
local LEAST = 100 -- changes that are kept in any case, however few messages are

local function prune(first)
  for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
    if tonumber(string.match(field, '^%d+')) < first then redis.call('HDEL', KEYS[3], field) end
  end
end

local log = open_log(ARGV[2])
local keys = KEYS[5] and open_keys({ ARGV[7] })
local again = keys and first_answer(log, keys, ARGV[7], ARGV[8])
if again then return again end

local verb, target = ARGV[9], ARGV[10]
local found = message_at(log, target, ARGV[14])
if not found or redis.call('HEXISTS', KEYS[3], target .. 'd') == 1 then
  return redis.error_reply('NOTARGET there is no such message any more')
end
if ARGV[11] ~= '' and ARGV[11] ~= string.match(found[2][4], '^%S* (%S*)') then
  return redis.error_reply('NOTAUTHOR somebody else wrote it')
end

local reactions
if verb == 'r' or verb == 'u' then
  reactions = cjson.decode(redis.call('HGET', KEYS[3], target .. 'r') or '{}')
  local count, own, user = 0, 0, string.match(ARGV[12], '^%S*')
  for pair in pairs(reactions) do
    count = count + 1
    if string.match(pair, '^%S*') == user then own = own + 1 end
  end
  local full = count >= REACTIONS or own >= REACTIONS_OF_ONE
  if verb == 'r' and not reactions[ARGV[12]] and full then
    return redis.error_reply('TOOMANY this message has reactions enough')
  end
end

prepare(log)
local answer = append(log, ARGV[6], KEYS[4], math.max(tonumber(ARGV[3]), LEAST))
if answer.err then return answer end
if keys then
  remember(log, keys, ARGV[7], ARGV[8], answer)
  keep_keys(log, keys)
end
keep(log)
redis.call('HINCRBY', KEYS[1], 'changes', 1) -- entries that are no messages: unread messages are counted without them

local value = text(log.time) .. ' ' .. ARGV[13]
if verb == 'e' then
  redis.call('HSET', KEYS[3], target .. 'e', value)
elseif verb == 'd' then
  redis.call('HDEL', KEYS[3], target .. 'e', target .. 'r')
  redis.call('HSET', KEYS[3], target .. 'd', value)
else
  reactions[ARGV[12]] = verb == 'r' and text(log.time) or nil
  if next(reactions) then
    redis.call('HSET', KEYS[3], target .. 'r', cjson.encode(reactions))
  else
    redis.call('HDEL', KEYS[3], target .. 'r')
  end
end

if redis.call('TTL', KEYS[3]) == -1 then redis.call('EXPIRE', KEYS[3], life_of_meta(tonumber(ARGV[4]))) end
if redis.call('HLEN', KEYS[3]) > 3 * tonumber(ARGV[3]) + 64 then
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
  prune(oldest and tonumber(string.match(oldest[1], '^%d+')) or log.top + 2)
end
return answer
