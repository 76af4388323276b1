-- Has a user's ban or mute hold for one more address, if it is still the same one.
--
-- KEYS[1]  sanctions  hash as in sanction.lua
-- ARGV[1]  "<verb> <room> <user>"
-- ARGV[2]  its `at`
-- ARGV[3]  the address; "": only say whether it is still the same one
--
-- Returns the value as it is now, or "" where the sanction was lifted or imposed anew meanwhile.

local before = redis.call('HGET', KEYS[1], ARGV[1])
if not before then return '' end
local ends, at, held, details = string.match(before, '^(%d+) (%d+) (%S+) (.*)$')
if at ~= ARGV[2] then return '' end
if ARGV[3] == '' then return before end
for address in string.gmatch(held, '[^,]+') do
  if address == ARGV[3] then return before end
end
held = held == '-' and ARGV[3] or held .. ',' .. ARGV[3]
local value = ends .. ' ' .. at .. ' ' .. held .. ' ' .. details
redis.call('HSET', KEYS[1], ARGV[1], value)
return value
