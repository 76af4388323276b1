-- Lists who has a name, or one that looks alike.
--
-- KEYS     the hashes of the keys of the name, see claim_names.lua
-- ARGV[1]  about how many of each hash
--
-- Returns {"<incarnation> <user>", …}.

local found = {}
for _, key in ipairs(KEYS) do
  local page = redis.call('HSCAN', key, '0', 'COUNT', ARGV[1])[2]
  for at = 1, #page, 2 do found[#found + 1] = page[at] end
end
return found
