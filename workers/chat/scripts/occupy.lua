-- Takes a place for a user in a room that has a limit on users, or says that it is full: one step, whoever asks meanwhile.
--
-- KEYS[1]  occupants  hash: "<incarnation> <user>" -> 1, of users with a connection in the room at that worker
-- ARGV[1]  incarnation
-- ARGV[2]  user
-- ARGV[3]  limit; 0: the user is in already, at another worker or before the store lost it
-- ARGV[4]  seconds that the places are kept without being taken again
-- ARGV[5]  how many incarnations follow that are alive; after them those that are known to be dead
--
-- Returns {1}; {0} where the room is full; {2, incarnation, …} where some are neither known to be alive nor dead: nothing
-- was done.

local own, limit = ARGV[1] .. ' ' .. ARGV[2], tonumber(ARGV[3])

-- Users at any worker; they are counted only where there may be too many of them.
local function users()
  local known, found, unknown, count = {}, {}, { 2 }, 0
  for at = 6, #ARGV do known[ARGV[at]] = at < 6 + ARGV[5] and 'alive' or 'dead' end
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    local incarnation, user = string.match(field, '^(%S*) (.*)$')
    if known[incarnation] == 'dead' then
      redis.call('HDEL', KEYS[1], field)
    elseif known[incarnation] ~= 'alive' then
      unknown[#unknown + 1] = incarnation
    elseif not found[user] then
      found[user], count = true, count + 1
    end
  end
  return found, count, unknown
end

if limit > 0 and redis.call('HEXISTS', KEYS[1], own) == 0 and redis.call('HLEN', KEYS[1]) >= limit then
  local found, count, unknown = users()
  if #unknown > 1 then return unknown end
  if count >= limit and not found[ARGV[2]] then return { 0 } end
end
redis.call('HSET', KEYS[1], own, 1)
redis.call('EXPIRE', KEYS[1], ARGV[4])
return { 1 }
