-- Owns how a user's total in a room changes, and how the room is told. It is put in front of the scripts that say
-- "uses room.lua"; all of them share
--   KEYS[1] presence  hash: "version" of the last change that was published
--   KEYS[2] users     hash: user -> connections over all incarnations; only what is above 0
--   KEYS[3] names     hash: user -> name
--   KEYS[4] own       hash: user -> connections of one incarnation; "\0seq": its last write; "\0dead": it was reaped
--   ARGV[1] channel
--   ARGV[2] names at most in one note; with more it carries only the count
--   ARGV[3] users from which on notes carry only the count
--
-- A note is "np" and a JSON object {version, count, joined, left, renamed, complete}, the lists of [user, name].

local FORGET = 3600 -- seconds that what nobody uses is kept, so that a late retry is still known for one
local SEQ, DEAD = '\0seq', '\0dead'

-- Lua's own conversion turns 2^53 into 9.007e+15.
local function text(number) return string.format('%.0f', number) end

local function now_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

local joined, left, renamed, changes = {}, {}, {}, 0

local function note(list, user, name)
  changes = changes + 1
  if changes <= tonumber(ARGV[2]) then list[#list + 1] = { user, name } end
end

-- Adds `delta` connections to a user's total. A total that was or becomes 0 is a change that others are told.
local function add(user, delta, name)
  if delta ~= 0 then
    local total = redis.call('HINCRBY', KEYS[2], user, text(delta))
    if total <= 0 then
      local known = redis.call('HGET', KEYS[3], user) or ''
      redis.call('HDEL', KEYS[2], user)
      redis.call('HDEL', KEYS[3], user)
      return note(left, user, known)
    elseif total == delta then
      redis.call('HSET', KEYS[3], user, name)
      return note(joined, user, name)
    end
  end
  if name and redis.call('HGET', KEYS[3], user) ~= name then
    redis.call('HSET', KEYS[3], user, name)
    note(renamed, user, name)
  end
end

-- Publishes what `add` found as one note with the next version. Returns {1, version, count, notes published}.
local function tell()
  local count = redis.call('HLEN', KEYS[2])
  local version = tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
  if changes > 0 then
    -- A room that was forgotten goes on above all its former versions.
    version = version > 0 and version + 1 or now_ms()
    redis.call('HSET', KEYS[1], 'version', text(version))
    if count == 0 then redis.call('EXPIRE', KEYS[1], FORGET) else redis.call('PERSIST', KEYS[1]) end
    local parts = { 'np{"version":' .. text(version) .. ',"count":' .. text(count) }
    if changes > tonumber(ARGV[2]) or count > tonumber(ARGV[3]) then
      parts[2] = ',"complete":false'
    else
      for name, list in pairs({ joined = joined, left = left, renamed = renamed }) do
        if #list > 0 then parts[#parts + 1] = ',"' .. name .. '":' .. cjson.encode(list) end
      end
    end
    redis.call('PUBLISH', ARGV[1], table.concat(parts) .. '}')
  end
  return { 1, text(version), count, changes > 0 and 1 or 0 }
end
