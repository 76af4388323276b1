-- Says which acknowledged entries are not in their rooms' logs any more; nothing is written.
-- uses log.lua
--
-- KEYS          meta of each room
-- ARGV[2n - 1]  epoch of an entry of the room KEYS[n], as it was acknowledged
-- ARGV[2n]      its offset
--
-- Returns the numbers of the rooms whose log has lost the entry. Of a room that has no log, or one with another identity,
-- nothing is said: whoever has a position there is told by that.

local reign = present_reign()
local answer = {}
for at, key in ipairs(KEYS) do
  local log, epoch = open_log('', key, reign), ARGV[2 * at - 1]
  local same = not log.fresh and string.sub(epoch, 1, 8) == log.id
  if same and not on_the_line(log, tonumber(ARGV[2 * at]), epoch) then answer[#answer + 1] = at end
end
return answer
