-- Says how many connections of some users one incarnation has in a room: absolute values, so that a retry is harmless.
-- uses room.lua
--
-- ARGV[4]  number of this write, growing with each of the incarnation's; one that comes late changes nothing
-- ARGV[5…] user, connections, name; user, connections, name; …
--
-- Returns {1, version, count of users, notes published}, or {0} to an incarnation that was reaped: it has to begin anew.

if redis.call('HEXISTS', KEYS[4], DEAD) == 1 then return { 0 } end
if tonumber(redis.call('HGET', KEYS[4], SEQ) or 0) >= tonumber(ARGV[4]) then return tell() end

-- What a store without memory refuses comes first: then nothing at all has happened.
redis.call('HSET', KEYS[4], SEQ, ARGV[4])
for at = 5, #ARGV, 3 do
  local user, count = ARGV[at], tonumber(ARGV[at + 1])
  local before = tonumber(redis.call('HGET', KEYS[4], user) or 0)
  if count > 0 then
    if count ~= before then redis.call('HSET', KEYS[4], user, ARGV[at + 1]) end
    add(user, count - before, ARGV[at + 2])
  elseif before > 0 then
    redis.call('HDEL', KEYS[4], user)
    add(user, -before)
  end
end
if redis.call('HLEN', KEYS[4]) == 1 then redis.call('EXPIRE', KEYS[4], FORGET) else redis.call('PERSIST', KEYS[4]) end
return tell()
