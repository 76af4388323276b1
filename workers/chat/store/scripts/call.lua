-- Keeps what a user wants to be called, beside the read positions in the user's inbox: of several the last one ordered.
--
-- KEYS[1]  marks  hash of the inbox, see look.lua; !name -> "<time> <offset> <name>"
-- ARGV[1]  time and
-- ARGV[2]  offset of the order in the control room, whose order is everybody's; 0 and 0: nobody was told
-- ARGV[3]  name
-- ARGV[4]  ttl, seconds

local time, offset = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = redis.call('HGET', KEYS[1], '!name')
if kept then
  local at, place = string.match(kept, '^(%d+) (%d+) ')
  at, place = tonumber(at), tonumber(place)
  if at > time or (at == time and place >= offset) then return 0 end
end
redis.call('HSET', KEYS[1], '!name', ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
