-- Claims names for users, or says who else has one that looks alike, and gives claims back: many wishes, in their order,
-- in one step, whoever asks meanwhile.
--
-- KEYS     for each wish, for each of the n keys of its name, a hash: "<incarnation> <user>" -> 1, of guests called so at
--          that worker; then n hashes more, the same of users who are no guests
-- ARGV[1]  incarnation
-- ARGV[2]  seconds that a claim is kept without being repeated
-- ARGV[3]  how many wishes follow; after them the incarnations that are alive, then those that are known to be dead
-- ARGV[4]  how many incarnations are alive
-- and for each wish
--   user
--   "guest", or "chosen" for a user who chose the name: refused where somebody has it; "vouched": the name is the user's
--   own, and guests have to give it up; "release": give the claim back
--   n
--
-- Returns, for each wish that was not simply granted, {its number, 1, guests who have to give the name up};
-- {its number, 0} where the name is taken; {its number, 2, incarnation, …} where some are neither known to be alive nor
-- dead: nothing was done for this wish.

local GRANTED, REFUSED, UNDECIDED = 1, 0, 2
local wishes = tonumber(ARGV[3])
local known, first = {}, 5 + 3 * wishes
for at = first, #ARGV do known[ARGV[at]] = at < first + ARGV[4] and 'alive' or 'dead' end

-- Adds to `others` the users but for `user` that a hash has, and to `unknown` the incarnations of which nothing is known.
-- Hashes are small but for a name that an issuer gives to many; of those the first who is alive is enough.
local function look(key, user, others, unknown, most)
  local cursor = '0'
  repeat
    local page = redis.call('HSCAN', key, cursor, 'COUNT', 64)
    cursor = page[1]
    for at = 1, #page[2], 2 do
      local incarnation, other = string.match(page[2][at], '^(%S*) (.*)$')
      if known[incarnation] == 'dead' then
        redis.call('HDEL', key, page[2][at])
      elseif other ~= user then
        if known[incarnation] == 'alive' then
          others[#others + 1] = other
        else
          unknown[#unknown + 1] = incarnation
        end
      end
    end
  until cursor == '0' or #others + #unknown > most
end

-- What is to be told of a wish, whose keys begin at `begin`.
local function claim(number, begin, user, kind, n)
  local others, unknown = { number, GRANTED }, { number, UNDECIDED }
  for at = begin, begin + n - 1 do look(KEYS[at], user, others, unknown, 66) end
  if kind ~= 'vouched' then
    for at = begin + n, begin + 2 * n - 1 do
      if #others == 2 then look(KEYS[at], user, others, unknown, 5) end
    end
    if #others > 2 then return { number, REFUSED } end
  end
  if #unknown > 2 then return unknown end
  for at = begin, begin + n - 1 do
    local key = KEYS[kind == 'guest' and at or n + at]
    redis.call('HSET', key, ARGV[1] .. ' ' .. user, 1)
    redis.call('EXPIRE', key, ARGV[2])
  end
  return others
end

local told, begin = {}, 1
for number = 1, wishes do
  local at = 2 + 3 * number
  local user, kind, n = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2])
  if kind == 'release' then
    for key = begin, begin + 2 * n - 1 do redis.call('HDEL', KEYS[key], ARGV[1] .. ' ' .. user) end
  else
    local answer = claim(number, begin, user, kind, n)
    if #answer > 2 or answer[2] ~= GRANTED then told[#told + 1] = answer end
  end
  begin = begin + 2 * n
end
return told
