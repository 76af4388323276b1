-- Claims a name for a user, or says who else has one that looks alike: one step, whoever asks meanwhile.
--
-- KEYS[1…n]    guests  for each key of the name a hash: "<incarnation> <user>" -> 1, of guests called so at that worker
-- KEYS[n+1…2n] users   the same of users who are no guests
-- ARGV[1]  incarnation
-- ARGV[2]  user
-- ARGV[3]  "guest", or "chosen" for a user who chose the name: refused where somebody has it; "vouched": the name is the
--          user's own, and guests have to give it up
-- ARGV[4]  seconds that a claim is kept without being repeated
-- ARGV[5]  how many incarnations follow that are alive; after them those that are known to be dead
--
-- Returns {1, guests who have to give the name up}; {0} where it is taken; {2, incarnation, …} where some are neither
-- known to be alive nor dead: nothing was done.

local kind, half = ARGV[3], #KEYS / 2
local known, others, unknown = {}, { 1 }, { 2 }
for at = 6, #ARGV do known[ARGV[at]] = at < 6 + ARGV[5] and 'alive' or 'dead' end

-- Hashes are small but for a name that an issuer gives to many; of those the first who is alive is enough.
local function look(key, most)
  local cursor = '0'
  repeat
    local page = redis.call('HSCAN', key, cursor, 'COUNT', 64)
    cursor = page[1]
    for at = 1, #page[2], 2 do
      local incarnation, user = string.match(page[2][at], '^(%S*) (.*)$')
      if known[incarnation] == 'dead' then
        redis.call('HDEL', key, page[2][at])
      elseif user ~= ARGV[2] then
        if known[incarnation] == 'alive' then
          others[#others + 1] = user
        else
          unknown[#unknown + 1] = incarnation
        end
      end
    end
  until cursor == '0' or #others + #unknown > most
end

for at = 1, half do look(KEYS[at], 64) end
if kind ~= 'vouched' then
  for at = half + 1, #KEYS do
    if #others == 1 then look(KEYS[at], 3) end
  end
end
if kind ~= 'vouched' and #others > 1 then return { 0 } end
if #unknown > 1 then return unknown end
for at = 1, half do
  local key = KEYS[kind == 'guest' and at or half + at]
  redis.call('HSET', key, ARGV[1] .. ' ' .. ARGV[2], 1)
  redis.call('EXPIRE', key, ARGV[4])
end
return others
